"""`pytest-circuits prune` from the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import Tensor

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.cli import main
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune import masks, search
from pytest_circuits.prune.plan import MaskPlan, Method, PrunePlan
from pytest_circuits.prune.quality import Quality
from pytest_circuits.prune.run import completed
from pytest_circuits.prune.search import Found, Rivals, find_circuits
from pytest_circuits.prune.soft_masks import margins
from pytest_circuits.prune.stages import Case
from pytest_circuits.prune.subject import NotFoundError, Subject, demands_of
from pytest_circuits.spec.load import load_spec
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import write_spec
from tests.known_models import (
    D_HEAD,
    KnownAnswer,
    Weights,
    quote_copier,
    quote_spec,
    redundant_quote,
    write_quote_copier,
)
from tests.known_models.workshop import BOTH, FAITHFUL, answer_spec
from tests.odd_state import all_odd, state
from tests.prune.conftest import Known

ROOT = Path(__file__).resolve().parents[2]
MASKS = ["--steps", "100"]
QUICK = ["--method", "attribution", "--no-controls", "--no-edges"]
RIVALS = PrunePlan(
    masks=MaskPlan(steps=60, lr=0.06),
    evaluation_pairs=32,
    rounds=0,
    edges=False,
    controls=False,
    rivals=True,
)


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prompts of each forward that masks are learnt from."""
    counted: list[int] = []

    descend = masks._Step.descend

    def counting(*args: Any, **named: Any) -> Tensor:  # noqa: ANN401
        *_, keep, prompts = args
        runs = next(iter(keep.values())).shape[1]
        counted.append(prompts.choices[..., 0].numel() * runs)
        return margins(*args, **named)

    def descending(*args: Any) -> Any:  # noqa: ANN401
        with monkeypatch.context() as patched:
            patched.setattr("pytest_circuits.prune.objective.margins", counting)
            return descend(*args)

    monkeypatch.setattr(masks._Step, "descend", descending)
    return counted


def test_it_writes_a_complete_spec_with_evidence_and_controls(
    known: Callable[..., Known], learnt: list[int]
) -> None:
    case = known(quote_copier(0))
    result = CliRunner().invoke(main, ["prune", str(case.spec), *MASKS, "--seeds", "2"])
    assert result.exit_code == 0, result.output
    spec = load_spec(case.spec).spec
    assert Nodes.of(spec.nodes) == case.nodes
    assert spec.edges is not None
    assert spec.found_by["edges"] == sum(map(len, spec.edges.values())) > 0
    assert spec.found_by["nodes"] == case.nodes.count
    frequency = spec.found_by["seeds_that_found"]
    assert isinstance(frequency, dict)
    assert {hook: len(counts) for hook, counts in frequency.items()} == case.nodes.shape
    assert {count for counts in frequency.values() for count in counts} == {2}
    assert re.fullmatch(
        r"none: loss 0\.\d\d with \d+ nodes", str(spec.found_by["shuffled_labels_nodes"])
    )
    assert spec.found_by["clearly_better_than_controls"] is True
    assert f"pytest --circuits {case.spec}" in result.output
    assert "found by how many of 2 seeds: " in result.output
    assert "undeclared" not in result.output
    asked = PrunePlan(masks=MaskPlan(steps=100), seeds=2)
    assert sum(learnt) == asked.learnt_from(
        demands_of(spec, asked).runs, controls=2
    )  # as `plan` says


def test_what_others_set_in_the_process_changes_no_byte(known: Callable[..., Known]) -> None:
    case = known(quote_copier(0))
    before, found = case.spec.read_text(), []
    for circumstances in (nullcontext, all_odd):
        case.spec.write_text(before)
        with circumstances():
            was = state()
            result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK])
            assert state() == was
        assert result.exit_code == 0, result.output
        found.append(case.spec.read_text())
    assert found[0] == found[1] != before


def test_a_behavior_that_the_model_does_not_have_is_said_and_the_others_are_written(
    known: Callable[..., Known], tmp_path: Path
) -> None:
    good = known(quote_copier(0)).spec
    bad = tmp_path / "bad.circuit.yaml"
    text = good.read_text().replace("circuit: quote_close", "circuit: swapped")
    cues = re.findall(r"^ {6}(\S+): (\S+)$", text, re.MULTILINE)
    (first, one), (second, other) = cues[-2:]
    text = text.replace(f"{first}: {one}", f"{first}: {other}")
    bad.write_text(text.replace(f"{second}: {other}", f"{second}: {one}"))
    before = bad.read_text()
    alone = CliRunner().invoke(main, ["prune", str(bad)])
    assert alone.exit_code == 1
    assert "swapped: the whole model prefers the answer on 0.0%" in alone.output
    result = CliRunner().invoke(main, ["prune", str(bad), str(good), *QUICK])
    assert result.exit_code == 1
    assert "swapped: the whole model prefers the answer on 0.0%" in result.output
    assert bad.read_text() == before
    assert load_spec(good).spec.nodes


def test_backups_are_searched_with_the_found_nodes_forbidden(
    known: Callable[..., Known],
) -> None:
    case = known(redundant_quote(0))
    result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK, "--exhaust"])
    assert result.exit_code == 0, result.output
    assert "no backup: without these nodes nothing does the task" in result.output
    assert load_spec(case.spec).spec.found_by["backups"] == 0


def test_rivals_are_found_where_another_path_does_the_same_and_nowhere_else(
    tmp_path: Path,
) -> None:
    """Of two heads that do the same either is enough; what the model needs has both."""
    model = load_model(write_quote_copier(tmp_path / "model", Weights(weak=Weights().path)))
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote_spec({}, claims=("behaves", "sufficient", "necessary")))
    spec, reference = load_spec(path).spec, load_reference(model)
    found: list[Spec] = []
    for plan in (RIVALS.sufficient_only(), RIVALS):
        (circuit,) = find_circuits([Subject.of(spec, model, reference, plan)], reference, plan)
        assert isinstance(circuit, Found)
        found.append(completed(spec, circuit, plan, model, path))
    either, both = found

    assert (either.rivals, both.rivals) == (1, 0)
    rival = either.found_by["rival_1"]
    assert isinstance(rival, dict)
    values = either.nodes["0.attn.v"] + rival["0.attn.v"]
    assert sorted(values) == [0, D_HEAD], "one head each"
    assert sorted(both.nodes["0.attn.v"]) == [0, D_HEAD], "the one that is needed has both"


def test_rivals_that_do_not_fit_into_a_specification_are_counted_and_not_listed(
    known: Callable[..., Known],
) -> None:
    case = known(quote_copier(0))
    loaded = load_spec(case.spec)
    model = load_model(loaded.model_path)
    many = Nodes.of({"0.attn.v": range(4000)})
    rival = Found(many, None, Quality(), 0, {}, {}, None)
    nodes = Nodes.of({"0.attn.v": range(3000)})
    found = replace(rival, nodes=nodes, rivals=Rivals((rival,) * 8, (0.5,) * 8, "enough"))

    spec = completed(loaded.spec, found, RIVALS, model, case.spec)

    written = case.spec.with_name("many.circuit.yaml")
    write_spec(spec.model_copy(update={"circuit": "many"}), path=written)
    assert load_spec(written).spec.found_by["rivals"] == 8
    listed = [name for name in spec.found_by if re.fullmatch(r"rival_\d", name)]
    assert listed == ["rival_1", "rival_2", "rival_3", "rival_4"]
    assert spec.found_by["rival_8_task_loss"] == 0.0


def test_a_ranking_finds_the_path_that_does_the_same_and_says_why_it_ends(tmp_path: Path) -> None:
    write_quote_copier(tmp_path / "model", Weights(weak=Weights().path))
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote_spec({}, claims=("behaves", "sufficient")))

    result = CliRunner().invoke(main, ["prune", str(path), *QUICK, "--rivals", "--sufficient-only"])

    assert result.exit_code == 0, result.output
    spec = load_spec(path).spec
    assert (spec.found_by["method"], spec.rivals) == ("attribution", 1)
    rival = spec.found_by["rival_1"]
    assert isinstance(rival, dict)
    assert sorted(spec.nodes["0.attn.v"] + rival["0.attn.v"]) == [0, D_HEAD], "one head each"
    assert rival.keys() == spec.nodes.keys()
    # Whatever copies the quote, the channel that only biases the answer has to be there.
    assert f"rival 1: 5 nodes, {1 / 5:.0%} of them shared, meet the same demands" in result.output
    assert spec.found_by["rival_1_shared"] == 0.2
    end = "the next one shares 80% of its nodes with one that is known"
    assert spec.found_by["rivals_end"] == end
    assert f"no more rivals: {end}" in result.output


@pytest.mark.parametrize("answer", [quote_copier, redundant_quote])
def test_a_ranking_finds_no_rival_of_what_the_model_needs_whole(
    known: Callable[..., Known], answer: Callable[[int], KnownAnswer]
) -> None:
    case = known(answer(0))
    result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK, "--rivals"])
    assert result.exit_code == 0, result.output
    spec = load_spec(case.spec).spec
    assert (Nodes.of(spec.nodes), spec.rivals) == (case.nodes, 0)
    end = "the next one shares 100% of its nodes with one that is known"
    assert f"no rival: {end}" in result.output


def test_greedy_removal_searches_for_no_rivals(known: Callable[..., Known]) -> None:
    case = known(quote_copier(0))
    asked = ["prune", str(case.spec), *QUICK, "--method", "greedy", "--rivals"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 4
    assert "--rivals need masks or a ranking; leave it or --method greedy away" in result.output


@pytest.mark.parametrize("method", ["attribution", "greedy"])
def test_other_methods_lead_to_the_known_circuit_too(
    known: Callable[..., Known], method: str
) -> None:
    case = known(quote_copier(0))
    case.spec.write_text(case.spec.read_text() + "calibration: {scale: 9, shift: 9}\n")
    result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK, "--method", method])
    assert result.exit_code == 0, result.output
    assert Nodes.of(load_spec(case.spec).spec.nodes) == case.nodes
    assert load_spec(case.spec).spec.calibration is None  # that of another circuit


def test_a_ranking_is_tried_where_masks_lead_to_no_circuit(
    known: Callable[..., Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = search._searched

    def none_by_masks(case: Case, drafted: list[Nodes]) -> Found:
        if case.plan.method is Method.MASKS:
            raise NotFoundError("quote: no circuit found")
        return searched(case, drafted)

    monkeypatch.setattr(search, "_searched", none_by_masks)
    case = known(quote_copier(0))
    asked = ["prune", str(case.spec), "--steps", "1", "--no-controls", "--no-edges"]
    only = CliRunner().invoke(main, [*asked, "--method", "masks"])
    assert only.exit_code == 1
    assert "a ranking is tried" not in only.output

    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert "masks lead to no circuit; a ranking is tried" in result.output
    spec = load_spec(case.spec).spec
    assert spec.found_by["method"] == "attribution"
    assert "steps" not in spec.found_by
    assert Nodes.of(spec.nodes) == case.nodes


@pytest.mark.parametrize("most", [32, 1])
def test_the_top_of_a_ranking_goes_before_masks_where_circuits_have_to_hold(
    known: Callable[..., Known], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """It has to be good enough as it is: of one node no circuit is made."""
    monkeypatch.setattr("pytest_circuits.prune.plan._MOST_SURE", most)
    case = known(answer := quote_copier(0))
    case.spec.write_text(answer_spec(answer, {}, ablation=BOTH, more=FAITHFUL))

    asked = ["prune", str(case.spec), "--steps", "5", "--no-controls", "--no-edges"]
    result = CliRunner().invoke(main, asked)

    assert result.exit_code == 0, result.output
    in_vain = "the top of a ranking leads to no circuit; masks are learnt" in result.output
    spec = load_spec(case.spec).spec
    assert (spec.found_by["method"], in_vain) == (("attribution", "masks")[in_vain], most == 1)
    assert Nodes.of(spec.nodes) == case.nodes


def test_what_was_measured_on_another_circuit_is_to_be_measured_again(
    known: Callable[..., Known],
) -> None:
    case = known(answer := quote_copier(0))
    fewer = case.nodes.without(*next(iter(case.nodes)))
    text = answer.spec_with(dict(fewer.channels))
    case.spec.write_text(f"{text}undeclared: {{minimal: three nodes are not needed}}\n")
    result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK])
    assert result.exit_code == 0, result.output
    assert "`undeclared` (minimal) was measured on the circuit that it had" in result.output
    assert dict(load_spec(case.spec).spec.undeclared.items()) == {
        "minimal": "three nodes are not needed"
    }


def test_one_out_file_for_two_specs_is_refused_before_anything_runs(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.circuit.yaml" for name in "ab"]
    for path in paths:
        path.write_text(quote_copier(0).spec)
    result = CliRunner().invoke(main, ["prune", *map(str, paths), "--out", str(tmp_path / "c")])
    assert result.exit_code == 4
    assert "--out is for one SPEC" in result.output


def test_a_circuit_is_calibrated_on_request_and_the_specification_says_how(
    known: Callable[..., Known],
) -> None:
    case = known(quote_copier(0))
    case.spec.write_text(case.spec.read_text() + "calibration: {scale: 9, shift: 9}\n")
    result = CliRunner().invoke(main, ["prune", str(case.spec), *QUICK, "--calibrate"])
    assert result.exit_code == 0, result.output
    loaded = load_spec(case.spec)
    spec = loaded.spec
    assert Nodes.of(spec.nodes) == case.nodes
    assert spec.calibration is not None
    assert spec.calibration.scale != 9
    assert f"calibrated: scale {spec.calibration.scale:g}, shift" in result.output
    assert isinstance(plain := spec.found_by["task_loss_uncalibrated"], float)
    assert spec.found_by["task_loss"] != plain
    evidence = run_claim(make_bench(loaded, case.subject.model), "sufficient")
    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["task_loss_uncalibrated"] == pytest.approx(plain, abs=0.01)


def test_a_behavior_that_the_bigram_table_does_alone_is_refused_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out.circuit.yaml"
    spec = ROOT / "circuits" / "else_elif.circuit.yaml"
    result = CliRunner().invoke(main, ["prune", str(spec), "--out", str(out)])
    assert result.exit_code == 1
    assert "with every node ablated the model still tells the prompts of a pair" in result.output
    assert not out.exists()
