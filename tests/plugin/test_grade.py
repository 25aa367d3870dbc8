"""Each circuit has a grade, in the summary and in the record, and little evidence shows in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_circuits.claims.evidence import Evidence, Rate, Verdict
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.report.grade import Level, grade, meanings, warning
from pytest_circuits.report.run import Circuit, Result, Run, State
from tests.known_models import QUOTE_PATH
from tests.plugin.conftest import FOUR, Repository, spec_text
from tests.plugin.test_summary import CIRCUIT

CORE = ("behaves", "sufficient", "necessary", "stable")
BEYOND = ("faithful", "minimal", "specific")
MEANINGS = meanings(Run((), (), claims=glossary()))
GUIDE = Path(__file__).parents[2] / "docs" / "claims.md"


def result(
    claim: str,
    verdict: Verdict = Verdict.PASS,
    *,
    exhaustive: bool = False,
    ablations: Sequence[str] = ("mean", "contrast"),
) -> Result:
    rate = Rate(1.0, 1.0, 1.0, 0.95, 500, exhaustive)
    measures: dict[str, float | None] = {"control_p": 0.025} if claim == "sufficient" else {}
    under = dict.fromkeys(ablations if claim in {"sufficient", "necessary"} else (), verdict)
    evidence = Evidence(claim, verdict, "well", rate=rate, measures=measures, under=under)
    return Result(f"x::{claim}", CIRCUIT.name, evidence, State.RAN)


def run_of(*circuits: Circuit, results: Sequence[Result] = ()) -> Run:
    return Run(circuits, tuple(results), claims=glossary())


@pytest.mark.parametrize(
    ("declared", "nodes", "broken", "level"),
    [
        ((*CORE, *BEYOND), 7, {}, Level.FULL),
        ((*CORE, "faithful"), 7, {}, Level.CORE),
        (CORE, 7, {}, Level.CORE),
        (("sufficient",), 7, {}, Level.PARTIAL),
        (("behaves", "blind"), 0, {}, Level.BEHAVIOR),
        (CORE, 7, {"stable": Verdict.INCONCLUSIVE}, Level.UNDECIDED),
        (CORE, 7, {"stable": Verdict.INCONCLUSIVE, "behaves": Verdict.FAIL}, Level.REFUTED),
        (("behaves",), 0, {"behaves": Verdict.FAIL}, Level.REFUTED),
    ],
)
def test_the_grade_is_as_good_as_what_was_declared_and_shown(
    declared: tuple[str, ...], nodes: int, broken: dict[str, Verdict], level: Level
) -> None:
    circuit = replace(CIRCUIT, declared=declared, nodes=nodes)
    results = [result(claim, broken.get(claim, Verdict.PASS)) for claim in declared]

    assert grade(circuit, run_of(circuit, results=results)).level is level


def test_what_holds_under_one_ablation_alone_is_not_full() -> None:
    circuit = replace(CIRCUIT, declared=(*CORE, *BEYOND))
    results = [result(claim, ablations=("mean",)) for claim in circuit.declared]

    found = grade(circuit, run_of(circuit, results=results))

    assert found.level is Level.CORE
    assert found.assumptions == ("mean",)


def test_a_claim_that_was_not_asked_for_leaves_the_grade_undecided() -> None:
    circuit = replace(CIRCUIT, declared=CORE)

    found = grade(circuit, run_of(circuit, results=[result(claim) for claim in CORE[:3]]))

    assert found.level is Level.UNDECIDED
    assert found.undecided == ("stable",)


def test_the_line_says_how_it_was_shown_and_what_is_missing() -> None:
    circuit = replace(CIRCUIT, declared=("behaves", "sufficient"))

    results = [result("behaves", exhaustive=True), result("sufficient")]
    found = grade(circuit, run_of(circuit, results=results))

    assert found.sentence == (
        "2 claims hold, 1 by proof, 1 by sample, under mean and contrast; better than random "
        "circuits (p = 0.025); not declared: necessary, stable"
    )


def test_the_line_says_what_is_left_out_and_shortly_why() -> None:
    reasons = {
        "stable": "no baseline yet",
        "faithful": "fails: the gap is 1.2 nats",
        "minimal": "fails: 0.attn.q[3] does nothing",
        "blind": 30 * "ab",
    }
    circuit = replace(CIRCUIT, declared=CORE[:3], left_out=reasons)

    found = grade(circuit, run_of(circuit, results=[result(claim) for claim in CORE[:3]]))

    assert found.level is Level.PARTIAL
    assert found.left_out == reasons
    assert found.sentence.endswith(
        f"; left out: stable (no baseline yet), faithful, minimal (fails), blind ({20 * 'ab'}...)"
    )


@pytest.mark.parametrize(
    ("declared", "nodes", "level"),
    [
        ((*CORE, *BEYOND), 7, Level.PARTIAL),
        (CORE, 7, Level.PARTIAL),
        (("behaves",), 0, Level.BEHAVIOR),
    ],
)
def test_what_is_lax_caps_the_grade_and_is_named(
    declared: tuple[str, ...], nodes: int, level: Level
) -> None:
    circuit = replace(CIRCUIT, declared=declared, nodes=nodes, lax=("a of 1 (x)", "b of 2 (y)"))

    found = grade(circuit, run_of(circuit, results=[result(claim) for claim in declared]))

    assert found.level is level
    assert found.sentence.endswith("; lax: a of 1 (x), b of 2 (y)")


def test_a_limit_that_lets_chance_pass_is_no_core_evidence(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = repository.write_good_spec(claims=FOUR)
    spec.write_text(spec.read_text().replace("max_loss: 0.15", "max_loss: 0.69"))
    repository.gate("--circuits-update=new")

    monkeypatch.setenv("COLUMNS", "200")
    result = repository.gate("--circuits-markdown=out.md")

    said = "lax: sufficient.max_loss of 0.69 (what knows half of the answers would pass)"
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"partial  quote_close  4 claims hold *; {said}*"])
    text = (repository.path / "out.md").read_text().replace("\\", "")
    assert said in text


def test_a_circuit_that_keeps_values_alone_says_so_in_its_line(repository: Repository) -> None:
    nodes = {
        hook: kept for hook, kept in QUOTE_PATH.items() if hook not in ("0.attn.q", "0.attn.k")
    }
    repository.write("circuits/quote_close.circuit.yaml", spec_text(nodes=nodes))

    result = repository.gate("--circuits-report=out.json")

    result.stdout.fnmatch_lines(
        ["*  quote_close  *; keeps values of head 0.0 without queries and keys"]
    )
    (circuit,) = json.loads((repository.path / "out.json").read_text())["circuits"]
    assert circuit["aimless"] == circuit["grade"]["aimless"] == ["0.0 without queries and keys"]


@pytest.mark.parametrize(
    ("nodes", "said"), [(7, "; 2 rivals found"), (6, "")], ids=["of it", "of other nodes"]
)
def test_rivals_that_a_search_found_are_said(repository: Repository, nodes: int, said: str) -> None:
    """What `found_by` says of another number of nodes is of another circuit."""
    assert sum(map(len, QUOTE_PATH.values())) == 7
    text = spec_text() + f"found_by: {{nodes: {nodes}, rivals: 2}}\n"
    repository.write("circuits/quote_close.circuit.yaml", text)

    result = repository.gate("--circuits-report=out.json")

    result.stdout.fnmatch_lines([f"partial  quote_close *{said}"])
    (circuit,) = json.loads((repository.path / "out.json").read_text())["circuits"]
    assert circuit["rivals"] == circuit["grade"]["rivals"] == (2 if said else None)


def test_heads_that_lack_the_same_are_named_together() -> None:
    both = "without queries and keys"
    circuit = replace(
        CIRCUIT, declared=CORE, aimless=(f"1.3 {both}", "1.5 without keys", f"1.8 {both}")
    )

    said = grade(circuit, run_of(circuit, results=[result(claim) for claim in CORE])).sentence

    assert said.endswith("; keeps values of heads 1.3, 1.8 " + both + ", head 1.5 without keys")


def test_heads_without_what_aims_them_are_named_unless_it_is_shown_where_they_look() -> None:
    circuit = replace(CIRCUIT, declared=CORE, aimless=("1.8 without queries and keys",))
    more = replace(circuit, declared=(*CORE, "faithful"))

    plain, shown = (
        grade(each, run_of(each, results=[result(claim) for claim in each.declared]))
        for each in (circuit, more)
    )

    assert plain.level is Level.CORE
    assert plain.sentence.endswith("; keeps values of head 1.8 without queries and keys")
    assert shown.aimless == ()


def test_a_core_claim_that_is_left_out_with_a_reason_is_not_warned_about() -> None:
    said = replace(CIRCUIT, left_out={"stable": "no baseline yet"})

    assert warning(run_of(said)).endswith(": quote_close (sufficient)")
    assert warning(run_of(replace(said, declared=CORE[:3]))) == ""


def test_the_guide_explains_every_grade() -> None:
    text = GUIDE.read_text(encoding="utf-8")

    assert [f"| `{level}` | {meaning} |" in text for level, meaning in MEANINGS.items()] == (
        [True] * len(Level)
    )


def test_a_behavior_without_a_circuit_is_not_warned_about() -> None:
    behavior = replace(CIRCUIT, nodes=0, declared=("behaves",))

    assert warning(run_of(behavior)) == ""
    assert "quote_close (sufficient, stable)" in warning(run_of(behavior, CIRCUIT))


def test_a_specification_of_little_is_told_from_one_of_all(repository: Repository) -> None:
    repository.write_good_spec("all", claims=FOUR)
    repository.write_good_spec("little", claims=("sufficient",))
    repository.gate("--circuits-update=new")

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "grade    circuit  evidence",
            "core     all      4 claims hold by proof, under mean; better than random *(p = 0.048)",
            "partial  little   1 claim holds by proof, under mean; *; not declared: behaves, nec*",
            "warning: core claims are not declared, and so not tested: little (behaves, nec*",
        ]
    )
    grades = {
        circuit["name"]: circuit["grade"]
        for circuit in json.loads((repository.path / "out.json").read_text())["circuits"]
    }
    assert grades["all"]["level"] == "core"
    assert grades["little"] == {
        "aimless": [],
        "assumptions": ["mean"],
        "control_p": 1 / 21,
        "failed": [],
        "lax": [],
        "left_out": {},
        "level": "partial",
        "meaning": MEANINGS[Level.PARTIAL],
        "proven": ["sufficient"],
        "rivals": None,
        "sampled": [],
        "undecided": [],
        "undeclared": ["behaves", "necessary", "stable"],
    }


def test_what_is_left_out_is_said_and_still_required(repository: Repository) -> None:
    spec = repository.write_good_spec(claims=("behaves", "sufficient", "necessary"))
    reason = "no baseline yet: the model changes daily"
    spec.write_text(f"{spec.read_text()}undeclared: {{stable: '{reason}'}}\n")
    require(repository, "stable")

    result = repository.gate("-v")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "partial  quote_close  3 claims hold *; left out: stable (no baseline yet)",
            f"    stable is not declared: {reason}",
            "*: circuit quote_close does not declare stable, which circuits_require asks for",
        ]
    )
    result.stdout.no_fnmatch_line("warning: *")


def require(repository: Repository, claims: str) -> None:
    repository.write("pytest.ini", f"[pytest]\ncircuits_require = {claims}\n")


def test_a_required_claim_that_is_not_declared_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    require(repository, "behaves necessary stable")

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*: circuit quote_close does not declare stable, which circuits_require asks for",
            "gate: INCONCLUSIVE * - do not release: there is a problem with the run",
        ]
    )


def test_a_required_claim_that_is_declared_changes_nothing(repository: Repository) -> None:
    repository.write_good_spec()
    require(repository, "behaves necessary")

    assert repository.gate().ret == 0


def test_claims_about_a_circuit_are_not_required_where_there_is_none(
    repository: Repository,
) -> None:
    text = spec_text(claims=("behaves",), nodes={}).replace("nodes:\n", "")
    repository.write("circuits/quote_close.circuit.yaml", text)
    require(repository, "behaves necessary")
    assert repository.gate().ret == 0

    require(repository, "blind necessary")
    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*circuit quote_close does not declare blind, which *"])


def test_an_unknown_required_claim_is_a_usage_error(repository: Repository) -> None:
    repository.write_good_spec()
    require(repository, "necesary")

    result = repository.gate()

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: circuits_require: there is no claim 'necesary'; did you mean 'necessary'?"]
    )
