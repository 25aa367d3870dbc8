"""The text of a failed claim: claim, observed, bound, minimal prompt, and how to repeat it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_circuits.claims.evidence import Cause, Counterexample, Evidence, Law, Rate, Verdict
from pytest_circuits.cli import keep, main
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.report.failure import FailureText, failure_text
from pytest_circuits.report.run import Place
from pytest_circuits.spec.load import load_spec
from tests.known_models import WEAK_PATH
from tests.plugin.conftest import Repository, spec_text

EXAMPLE = Counterexample(
    prompt='x = "alpha',
    answer='"',
    foil="'",
    partner="x = 'alpha",
    tokens=("x", " =", ' "', "alpha"),
    margins={"whole model": 8.436, "circuit alone": -11.469},
    logits={
        "whole model": {"answer": 4.087, "foil": -4.349},
        "circuit alone": {"answer": -0.5, "foil": 10.969},
    },
    violation="the circuit alone prefers the foil",
)
EVIDENCE = Evidence(
    claim="sufficient",
    verdict=Verdict.FAIL,
    reason="the circuit alone prefers the answer on 50.0 % of 500 prompts",
    rate=Rate(estimate=0.5, lower=0.447, upper=0.553, threshold=0.95, n=500, exhaustive=False),
    law=Law(searched=836, counterexample=EXAMPLE),
    measures={"task_loss": 5.734, "delta_to_baseline": None},
)
PLACE = Place(
    path="circuits/weak.circuit.yaml",
    line=23,
    command="pytest --circuits circuits/weak.circuit.yaml::weak_path::sufficient",
)


def text_of(evidence: Evidence, place: Place = PLACE) -> FailureText:
    return failure_text(evidence, glossary()[evidence.claim], place, circuit="weak_path")


def test_a_failure_says_everything_that_is_needed_to_act() -> None:
    assert str(text_of(EVIDENCE)).splitlines() == [
        "weak_path: sufficient: fail  (circuits/weak.circuit.yaml:23)",
        "",
        "  claim     with everything outside the circuit ablated, the answer is still preferred",
        "  observed  50.0 % (≥ 44.7 %) of 500 prompts",
        "  bound     ≥ 95.0 %",
        "  reason    the circuit alone prefers the answer on 50.0 % of 500 prompts",
        "  measures  task loss 5.734",
        "",
        "  law       broken; the smallest prompt found that breaks it, of 836 tried:",
        "  prompt    'x = \"alpha'",
        "  answer    '\"', foil \"'\"",
        '  partner   "x = \'alpha"  (the other cue: answer and foil swapped)',
        "  tokens    'x' ' =' ' \"' 'alpha'",
        "  logits                      answer       foil     margin",
        "            whole model       +4.087     -4.349     +8.436",
        "            circuit alone     -0.500    +10.969    -11.469",
        "",
        "  reproduce pytest --circuits circuits/weak.circuit.yaml::weak_path::sufficient",
        "  keep it   pytest-circuits keep circuits/weak.circuit.yaml 'x = \"alpha'",
    ]


def test_a_number_that_is_not_finite_is_shown_as_a_dash() -> None:
    example = replace(EXAMPLE, margins={"whole model": None}, logits={})
    evidence = replace(EVIDENCE, law=Law(searched=1, counterexample=example))

    text = str(text_of(evidence))

    assert "whole model          -          -          -" in text


def test_a_prompt_shows_its_invisible_characters() -> None:
    example = replace(EXAMPLE, prompt="x\n\u202e'\x1b", tokens=("x", "\n\u202e'\x1b"))
    evidence = replace(EVIDENCE, law=Law(searched=1, counterexample=example))

    text = str(text_of(evidence))

    assert all(line.isprintable() for line in text.splitlines())
    assert r'"x\n\u202e' in text
    assert r"""keep --json circuits/weak.circuit.yaml '"x\n\u202e""" in text


def test_the_crash_line_is_one_line_for_summaries() -> None:
    crash = text_of(replace(EVIDENCE, reason="two\nlines")).reprcrash

    assert str(crash) == "circuits/weak.circuit.yaml:23: sufficient: two lines"


def test_what_accounts_for_a_failure_is_a_table() -> None:
    causes = (
        Cause("0.attn.v[3] -> 0.attn.resid_delta[12]", "restored", -11.469, 3.46, 0.75),
        Cause("0.attn.v[3]", "ablated", 8.436, 6.4454, 0.1),
    )
    evidence = replace(EVIDENCE, law=Law(1, replace(EXAMPLE, causes=causes)))

    lines = str(text_of(evidence)).splitlines()

    assert [line for line in lines if "0.attn.v" in line or line.startswith("  causes")] == [
        "  causes                                                         from         to    share",
        "            0.attn.v[3] -> 0.attn.resid_delta[12] restored    -11.469     +3.460     75 %",
        "            0.attn.v[3] ablated                                +8.436     +6.445     10 %",
    ]


@pytest.mark.parametrize(
    "prompt", ["-x = 'a", "x = '$(id) `id` !! \\", "x\n = \t\u202e'\x1b[0m\U0001f600", 'x = é"']
)
@pytest.mark.parametrize("path", ["a b/q.circuit.yaml", "-q.circuit.yaml"])
def test_the_command_that_keeps_a_prompt_survives_the_shell(prompt: str, path: str) -> None:
    evidence = replace(EVIDENCE, law=Law(1, replace(EXAMPLE, prompt=prompt)))
    text = str(text_of(evidence, replace(PLACE, path=path)))
    command = next(line for line in text.splitlines() if line.startswith("  keep it   "))[12:]

    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    shown = command.replace("pytest-circuits", f"{sys.executable} -c '{script}'", 1)
    done = subprocess.run(["/bin/sh", "-c", shown], capture_output=True, text=True, check=True)

    context = keep.make_context("keep", json.loads(done.stdout)[1:])
    given = context.params["prompt"]
    assert (json.loads(given) if context.params["is_json"] else given) == prompt
    assert context.params["spec"] == Path(path)


def test_the_command_keeps_the_prompt_which_then_runs_first(repository: Repository) -> None:
    spec = repository.write_bad_spec()
    failed = repository.gate()
    command = next(line for line in failed.outlines if line.startswith("  keep it   "))[12:]

    kept = CliRunner().invoke(main, shlex.split(command)[1:])
    again = CliRunner().invoke(main, shlex.split(command)[1:])

    assert kept.output == "circuits/weak_path.circuit.yaml: kept\n"
    assert again.output.endswith("it is among the regressions already\n")
    (prompt,) = load_spec(spec).spec.regressions
    assert prompt == shlex.split(command)[-1]


def test_a_prompt_that_cannot_be_kept_is_refused_with_status_2(repository: Repository) -> None:
    spec = repository.write_good_spec()

    refused = CliRunner().invoke(main, ["keep", str(spec), "x"])
    garbled = CliRunner().invoke(main, ["keep", "--json", str(spec), "x"])

    assert (refused.exit_code, garbled.exit_code) == (2, 4)
    assert "the prompt 'x' does not fit" in refused.output
    assert garbled.output == "Error: PROMPT is not a JSON string: 'x'\n"


def test_pytest_shows_the_text_and_no_traceback(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate()

    result.stdout.fnmatch_lines(
        [
            "*weak_path::sufficient*",
            "weak_path: sufficient: fail  (circuits/weak_path.circuit.yaml:*)",
            "  observed * of all 32 prompts (the whole space)",
            "  prompt * 'x = *",
            "  logits * answer * foil * margin",
            "  reproduce pytest --circuits circuits/weak_path.circuit.yaml::weak_path::sufficient",
            "FAILED circuits/weak_path.circuit.yaml::weak_path::sufficient - sufficient: *",
        ]
    )
    assert "Falsifying" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "git apply" not in result.stdout.str()


def test_the_worst_template_is_named(repository: Repository) -> None:
    several = 'prompt: {plain: "{name} = {cue}{word}", twice: "{name} = \\"\\"{cue}{word}"}'
    text = spec_text(claims=("behaves",)).replace('prompt: "{name} = {cue}{word}"', several)
    repository.write("circuits/quote_close.circuit.yaml", text)

    result = repository.gate("--circuits-report=out.json")

    result.stdout.fnmatch_lines(
        [
            "*observed  50.0 % of all 32 prompts (the whole space), worst at template 'twice'",
            "*reason    * prefers the answer on 50.0 % of all 32 prompts, worst at template",
            "*'twice' (at least 98.0 % needed)*",
            "fail*behaves*50.0 %*whole space of template 'twice'*",
        ]
    )
    (claim,) = json.loads((repository.path / "out.json").read_text())["circuits"][0]["claims"]
    assert claim["rate"]["group"] == "template 'twice'"
    assert claim["measures"]["rate_at_plain"] == 1
    assert claim["measures"]["rate_at_twice"] == 0.5
    again = CliRunner().invoke(main, ["report", "out.json", "--markdown", "out.md"])
    assert again.exit_code == 0, again.output
    assert "whole space of template 'twice'" in (repository.path / "out.md").read_text()


def test_the_command_reproduces_the_failure(repository: Repository) -> None:
    repository.write_bad_spec()
    first = repository.gate()
    command = next(line for line in first.outlines if "reproduce pytest" in line)

    again = repository.run(*command.split()[2:])

    assert again.ret == 1
    again.assert_outcomes(failed=1)


def test_each_line_style_of_pytest_works(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate("--tb=line")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["circuits/weak_path.circuit.yaml:*: sufficient: *"])


def test_an_unfaithful_circuit_is_refused_on_one_screen(repository: Repository) -> None:
    repository.write(
        "circuits/weak.circuit.yaml",
        spec_text(name="weak", nodes=WEAK_PATH, claims=("faithful",)),
    )

    result = repository.gate()

    assert result.ret == 1
    lines = result.stdout.lines
    first = lines.index("weak: faithful: fail  (circuits/weak.circuit.yaml:22)")
    last = next(i for i, line in enumerate(lines) if line.startswith("  keep it"))
    assert last - first < 40
    assert max(map(len, lines[first:last])) <= 100
    text = " ".join(" ".join(lines[first:last]).split())
    assert "whatever part of the rest is ablated" in text
    assert "the rest ablated" in text


def test_the_partner_of_a_change_is_called_what_it_is() -> None:
    lines = str(text_of(replace(EVIDENCE, claim="blind"))).splitlines()

    assert '  partner   "x = \'alpha"  (the same with other values of the slots)' in lines
