"""`pytest-circuits report`: every output of a run again, from its record, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.cli import main
from pytest_circuits.errors import RecordError
from pytest_circuits.report.grade import grade
from pytest_circuits.report.html import html
from pytest_circuits.report.markdown import markdown
from pytest_circuits.report.metrics import metrics
from pytest_circuits.report.outputs import OUTPUTS, RECORD
from pytest_circuits.report.predicate import predicate
from pytest_circuits.report.record import (
    dump,
    evidence_from_json,
    evidence_to_json,
    run_from_json,
    run_to_json,
)
from pytest_circuits.report.run import Baseline, File, Matched, Refusal, Run, Waiver
from pytest_circuits.report.sarif import sarif
from tests.known_models import WEAK_PATH
from tests.plugin.conftest import FOUR, Repository, spec_text
from tests.plugin.hostile import HOSTILE, many_failing, rendered
from tests.plugin.test_option_predicate import GITHUB
from tests.plugin.test_summary import BEHAVES, CIRCUIT, GOOD

ROOT = Path(__file__).parents[2]
OTHERS = tuple(name for name in OUTPUTS if name != RECORD)
CARD = "---\nlicense: mit\n---\n\n# A model\n"


def made_again(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def failing(repository: Repository) -> tuple[str, ...]:
    repository.write_bad_spec()
    repository.write_good_spec(claims=("sufficient",))
    return ()


def waived(repository: Repository) -> tuple[str, ...]:
    text = spec_text(name="weak", nodes=WEAK_PATH, claims=("behaves", "sufficient"))
    text += "waivers:\n  sufficient: {until: 2999-12-31, reason: 'known: see #7'}\n"
    text += "undeclared:\n  stable: 'new: no baseline'\n  necessary: 'fails: at 70 %'\n"
    text += "  faithful: 'fails: the gap'\n"
    repository.write("circuits/weak.circuit.yaml", text)
    return ()


def recording(repository: Repository) -> tuple[str, ...]:
    repository.write_good_spec(claims=FOUR)
    return ("--circuits-update=new",)


def compared(repository: Repository) -> tuple[str, ...]:
    repository.gate(*recording(repository))
    return ()


def against_a_folder_elsewhere(repository: Repository) -> tuple[str, ...]:
    repository.write_good_spec(claims=FOUR)
    repository.write_bad_spec()
    base = shutil.copytree(repository.path / "model", repository.path / "base")
    return (f"--circuits-baseline={base}", f"--circuits-model={repository.path / 'model'}")


def in_part(repository: Repository) -> tuple[str, ...]:
    repository.write_good_spec()
    return ("-k", "behaves or sufficient")


def below_the_top_of_a_repository(repository: Repository) -> tuple[str, ...]:
    repository.write_bad_spec()
    (repository.path / ".git").mkdir()
    return ("--rootdir=circuits",)


def put_to_the_test_itself(repository: Repository) -> tuple[str, ...]:
    repository.write_good_spec(claims=("behaves",))
    return ("--circuits-selfcheck=2",)


@pytest.mark.parametrize(
    "prepare",
    [
        failing,
        waived,
        recording,
        compared,
        against_a_folder_elsewhere,
        in_part,
        below_the_top_of_a_repository,
        put_to_the_test_itself,
    ],
)
def test_every_output_is_made_again_byte_for_byte(
    repository: Repository,
    prepare: Callable[[Repository], tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = prepare(repository)
    repository.write("out/model-card", CARD)
    repository.write("again/model-card", CARD)
    with monkeypatch.context() as pipeline:
        for name, value in GITHUB.items():
            pipeline.setenv(name, value)
        repository.gate(*options, *(f"--circuits-{name}=out/{name}" for name in OUTPUTS))

    result = made_again("out/report", *(f"--{name}=again/{name}" for name in OTHERS))

    assert (result.exit_code, result.stderr) == (0, "")
    assert {*result.stdout.splitlines()} == {f"{name}: again/{name}" for name in OTHERS}
    for name in OTHERS:
        before, after = (repository.path / folder / name for folder in ("out", "again"))
        assert after.read_bytes() == before.read_bytes(), name
    text = (repository.path / "out/report").read_text()
    assert str(repository.path) not in text


def test_an_output_that_is_there_is_replaced_and_of_a_card_the_section(
    repository: Repository,
) -> None:
    failing(repository)
    repository.gate(*(f"--circuits-{name}=out/{name}" for name in OUTPUTS))
    before = {name: (repository.path / "out" / name).read_bytes() for name in OUTPUTS}

    result = made_again("out/report", *(f"--{name}=out/{name}" for name in OTHERS))

    assert result.exit_code == 0
    assert {name: (repository.path / "out" / name).read_bytes() for name in OUTPUTS} == before


WHOLE = Run(
    circuits=(
        replace(
            CIRCUIT,
            name="other",
            baseline=Baseline("base", "b" * 64, recorded=False),
            files=(File("model/config.json", "model", "a" * 64),),
            left_out={"stable": "z", "behaves": "a"},
            waivers={"necessary": Waiver("2999-12-31", "known", "x.circuit.yaml:1:2")},
            matched=Matched("x.circuit.yaml", 3, 0.9, 0.8),
        ),
        *HOSTILE.circuits,
        *GOOD.circuits,
    ),
    results=(
        *(replace(result, circuit="other") for result in GOOD.results[:1]),
        *HOSTILE.results,
        *GOOD.results,
    ),
    refused=HOSTILE.refused,
    refusals=(*HOSTILE.refusals, Refusal("x", 1, 2, "y")),
    problems=HOSTILE.problems,
    notes=("a note",),
    recorded=("x.baseline.yaml",),
    claims=GOOD.claims,
    versions={"python": "3.99"},
    root="gates",
    url="https://x/1",
    started="2026-01-01T00:00:00+00:00",
    seconds=1.25,
)


def as_handed_over(run: Run) -> Run:
    """The run as the gate has it: evidence comes to it as JSON."""
    results = (
        replace(r, evidence=evidence_from_json(evidence_to_json(r.evidence))) for r in run.results
    )
    return replace(run, results=tuple(results))


@pytest.mark.parametrize("run", [GOOD, HOSTILE, WHOLE, many_failing(3), Run((), ())])
def test_a_run_is_read_back_as_it_was(run: Run) -> None:
    read = run_from_json(dump(run_to_json(run)).encode(), source="x.json")

    assert read == as_handed_over(run)
    assert [list(c.left_out) for c in read.circuits] == [list(c.left_out) for c in run.circuits]


def test_ablations_are_told_in_one_order_whatever_order_a_record_keeps() -> None:
    under = {"mean": Verdict.PASS, "contrast": Verdict.PASS}
    held = replace(BEHAVES, evidence=replace(BEHAVES.evidence, under=under))
    run = replace(GOOD, results=(held,))

    read = run_from_json(dump(run_to_json(run)).encode(), source="x.json")

    assert grade(read.circuits[0], read).assumptions == ("mean", "contrast")


Place = tuple[str | int, ...]
MAPS = {"measures", "margins", "logits", "versions", "waivers", "claims"}  # of any names


def paths_of(value: Any, path: Place = ()) -> Iterator[Place]:  # noqa: ANN401
    """Where every field of a JSON value stands."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield (*path, name)
        if isinstance(inner, dict | list):
            yield from paths_of(inner, (*path, name))


def changed(path: Place, *values: object) -> bytes:
    """A record with another value in one place, or with none."""
    record: Any = json.loads(dump(run_to_json(WHOLE)))
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    for value in values:
        inner[path[-1]] = value
    return json.dumps(record).encode()


FIELDS = sorted(paths_of(json.loads(dump(run_to_json(WHOLE)))), key=str)
NAMED = [path for path in FIELDS if len(path) < 2 or not {*path[-3:-1]} & MAPS]


@settings(deadline=None)
@given(st.sampled_from(NAMED))
def test_a_record_without_one_of_its_fields_is_refused(path: Place) -> None:
    with pytest.raises(RecordError, match="run the gate again"):
        run_from_json(changed(path), source="x.json")


@settings(deadline=None)
@given(
    path=st.sampled_from(FIELDS),
    value=st.sampled_from([None, -1, 10**400, 1.5, "x", "\ud800", True, [], {}, [[]], {"x": 1}]),
)
def test_whatever_stands_in_a_record_it_is_read_or_refused_in_words(
    path: Place, value: object
) -> None:
    content = changed(path, value)
    try:
        read = run_from_json(content, source="x.json")
    except RecordError as error:
        assert str(error).startswith("x.json: ")  # noqa: PT017
    else:
        assert read.verdict == json.loads(content)["verdict"]
        for made in (metrics(read), sarif(read), predicate(read)):
            assert json.loads(dump(made)) == made
        assert rendered(markdown(read, evidence=None))
        assert html(read).startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": []}, "a heat map is of prompts, each of which has tokens"),
        ({"tokens": [[], []]}, "a heat map is of prompts, each of which has tokens"),
        ({"rows": [{"node": "a", "values": [[1.0]]}]}, "a value for each token of each prompt"),
        ({"heads": [{"head": "a", "weights": [[1.0, 0.0], [1.0]]}]}, "a value for each token of"),
    ],
)
def test_a_heat_map_that_cannot_be_drawn_is_refused(change: dict[str, Any], said: str) -> None:
    record: Any = run_to_json(HOSTILE)
    record["circuits"][0]["heat"] |= change
    with pytest.raises(RecordError, match=said):
        run_from_json(dump(record).encode(), source="x.json")


def test_attention_that_is_more_than_all_is_drawn_as_all() -> None:
    record: Any = run_to_json(HOSTILE)
    record["circuits"][0]["heat"]["heads"] = [{"head": "a", "weights": [[1e308, -5.0], [1.0, 3.0]]}]
    assert "<svg" in html(run_from_json(dump(record).encode(), source="x.json"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "no evidence record of version 1"),
        ('{"schema_version": 2}', "no evidence record of version 1"),
        ('{"schema_version": 1, "schema_version": 1}', "stands twice"),
        ('{"schema_version": NaN}', "NaN is not a number"),
        ("[" * 100_000, "not JSON"),
        ('{"schema_version": 1, "run": [], "circuits": 7}', "not a whole record"),
        ('{"schema_version": 1, "verdict": "pass"}', "without the field 'run'"),
    ],
)
def test_what_is_no_record_is_refused_and_nothing_is_written(
    tmp_path: Path, text: str, said: str
) -> None:
    path, out = tmp_path / "evidence.json", tmp_path / "out.md"
    path.write_text(text)

    result = made_again(str(path), "--markdown", str(out))

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {path}: ")
    assert said in result.stderr
    assert not out.exists()


def test_a_record_of_an_older_version_says_to_run_the_gate_again(tmp_path: Path) -> None:
    record = run_to_json(GOOD)
    del record["circuits"][0]["claims"][0]["rate"]["at_most"]
    path = tmp_path / "evidence.json"
    path.write_text(dump(record))

    result = made_again(str(path), f"--sarif={tmp_path / 'out.sarif'}")

    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {path}: without the field circuits.0.claims.0.rate.at_most, so that it was "
        "changed, or written by another version; run the gate again to have one\n"
    )
    assert not (tmp_path / "out.sarif").exists()


@pytest.mark.parametrize("field", ["verdict", "grade"])
def test_what_does_not_follow_from_the_evidence_is_refused(tmp_path: Path, field: str) -> None:
    record = run_to_json(many_failing(1))
    if field == "verdict":
        record["verdict"] = "pass"
    else:
        record["circuits"][0]["grade"]["level"] = "full"
    path = tmp_path / "evidence.json"
    path.write_text(dump(record))

    result = made_again(str(path), f"--metrics={tmp_path / 'out.json'}")

    assert result.exit_code == 2
    assert f"{field}" in result.stderr
    assert "does not follow from the rest" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to make; name a file: --html, --predicate, "),
        (("--sarif=evidence.json",), "EVIDENCE and --sarif both name evidence.json"),
        (("--sarif=x", "--metrics=./x"), "--sarif and --metrics both name x"),
        (("--sarif=folder",), "--sarif: folder is a folder"),
        (("--sarif=other.txt",), "--sarif: other.txt is there already, and is no sarif"),
        (("--metrics=out.json", "--sarif=other.txt/x"), "other.txt/x: cannot be written"),
    ],
)
def test_a_command_that_asks_for_what_cannot_be_done_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evidence.json").write_text(dump(run_to_json(GOOD)))
    Path("other.txt").write_text("mine")
    Path("folder").mkdir()

    result = made_again("evidence.json", *arguments)

    assert result.exit_code == 4
    assert said in result.stderr
    assert Path("other.txt").read_text() == "mine"


def test_a_summary_is_appended_to_that_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evidence.json").write_text(dump(run_to_json(GOOD)))
    Path("step.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))

    result = made_again("evidence.json", "--markdown=step.md")

    assert result.exit_code == 0
    assert Path("step.md").read_text().startswith("before\n## Circuits: ✅ pass")


def test_neither_torch_nor_numpy_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(dump(run_to_json(many_failing(2))))
    script = (
        "import sys\nfrom pytest_circuits.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'hypothesis'} & set(sys.modules)))\n"
    )
    options = [f"--{name}={tmp_path / name}" for name in OTHERS]

    done = subprocess.run(
        [sys.executable, "-c", script, "report", str(path), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["evidence.json", *OTHERS])


def test_the_help_names_every_output() -> None:
    text = made_again("--help").stdout

    assert [name for name in OTHERS if f"--{name} FILE" not in text] == []
