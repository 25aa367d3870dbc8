"""`--circuits-match`: a candidate with other numbers for its nodes, and the circuit found again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.spec.load import load_spec
from tests.known_models import quote_copier
from tests.known_models.workshop import renumbered, write_like
from tests.plugin.conftest import Repository

CANDIDATE = "--circuits-model=candidate"
MATCHED = "matched/quote_close.circuit.yaml"
ANSWER = replace(quote_copier(0), protocol="{pairs: 300, search: 10}")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose channels can be told apart, the same renumbered, and one that knows nothing."""
    folder = tmp_path_factory.mktemp("match")
    base = load_sparse_model(ANSWER.write(folder / "model"))
    write_like(base, renumbered(base, seed=1), folder / "candidate")
    write_like(base, base.shuffled(seed=1).module, folder / "ignorant")
    return folder


@pytest.fixture
def team(pytester: pytest.Pytester, models: Path) -> Repository:
    """A repository with these models and the specification of the circuit."""
    for name in ("model", "candidate", "ignorant"):
        shutil.copytree(models / name, pytester.path / name)
    repository = Repository(pytester)
    text = ANSWER.spec_with(ANSWER.nodes).replace("model: model", "model: ../model")
    repository.write("circuits/quote_close.circuit.yaml", text)
    return repository


def test_another_seed_is_not_comparable_and_the_remedy_is_named(team: Repository) -> None:
    quote_copier(1).write(team.path / "other_seed")

    result = team.gate("--circuits-model=other_seed", "--circuits-baseline=model")

    assert result.ret == 1
    told = " ".join(result.stdout.str().split())
    assert "not comparable: channels all over the model" in told
    assert "`--circuits-match` looks for the circuit anew" in told


def test_a_circuit_is_found_again_and_its_claims_hold_there(team: Repository) -> None:
    result = team.gate(CANDIDATE, "--circuits-match=matched", "--circuits-report=out.json")

    assert result.ret == 0
    nodes = sum(map(len, ANSWER.nodes.values()))
    result.stdout.fnmatch_lines(
        [
            "  baseline  the models that the specs name",
            "  match     matched",
            "pass * quote_close * stable *",
            f"quote_close: matched: * of {nodes} nodes have other numbers (alike by 1.00 on *",
            "gate: PASS for candidate (*) - 4 claims about 1 circuit hold, at nodes that are *",
        ]
    )
    found = json.loads((team.path / "out.json").read_text(encoding="utf-8"))
    (circuit,) = found["circuits"]
    assert circuit["matched"]["file"] == MATCHED
    assert circuit["matched"]["least"] == pytest.approx(1, abs=0.01)
    assert found["baseline"]["path"] == "model"
    assert "lineage" not in circuit["claims"][3]["measures"]


def test_what_was_found_stands_by_itself_once_it_was_reviewed(team: Repository) -> None:
    team.gate(CANDIDATE, "--circuits-match=matched")

    recorded = team.gate("--circuits-update=new", MATCHED)
    result = team.gate(MATCHED)

    assert (recorded.ret, result.ret) == (0, 0)
    loaded = load_spec(team.path / MATCHED)
    assert loaded.model_path == team.path / "candidate"
    assert loaded.spec.found_by["nodes_moved"] > 0  # type: ignore[operator]  # it is a number


def test_a_circuit_that_is_nowhere_is_not_a_pass(team: Repository) -> None:
    result = team.gate("--circuits-model=ignorant", "--circuits-match=matched")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["fail * quote_close * sufficient *", "gate: FAIL*"])


def test_a_candidate_with_narrower_heads_is_refused(team: Repository) -> None:
    base = load_sparse_model(team.path / "model")
    narrower = SparseGPT(base.config.model_copy(update={"d_head": 4}))
    write_like(base, narrower, team.path / "narrower")

    result = team.gate("--circuits-model=narrower", "--circuits-match=matched")

    assert result.ret == 2
    told = " ".join(result.stdout.str().split())
    assert "the circuit cannot be matched: its heads have 4 channels, those of model 8" in told
    assert not (team.path / "matched").exists()


def test_where_nothing_moved_nothing_is_written(team: Repository) -> None:
    result = team.gate("--circuits-model=model", "--circuits-match=matched")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "  baseline  the models that the specs name, the candidate itself",
            "quote_close: matched: every node is where it was (*",
            "compared with the candidate itself, so that nothing can differ: quote_close",
        ]
    )
    assert not (team.path / "matched").exists()


def test_a_circuit_is_matched_with_what_its_baseline_was_recorded_from_alone(
    team: Repository,
) -> None:
    team.gate("--circuits-update=new")
    shutil.move(team.path / "model", team.path / "released")
    shutil.copytree(team.path / "ignorant", team.path / "model")

    replaced = team.gate("--circuits-model=model", "--circuits-match=matched")
    named = team.gate(CANDIDATE, "--circuits-match=matched", "--circuits-baseline=released")
    spec = team.path / "circuits/quote_close.circuit.yaml"
    spec.write_text(spec.read_text().replace("search: 10", "search: 11"))
    edited = team.gate(CANDIDATE, "--circuits-match=matched", "--circuits-baseline=released")

    assert (replaced.ret, named.ret, edited.ret) == (2, 0, 2)
    told = " ".join(replaced.stdout.str().split())
    assert "baseline beside it was recorded from another model than model (" in told
    assert "give the model that was released as --circuits-baseline" in told
    edited.stdout.fnmatch_lines(["*baseline beside it was recorded for another specification*"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("nodes: {final_resid: [2, 999]}", "node final_resid[[]999] is out of range: *"),
        ("nodes: {final_rezid: [2]}", "the model has no hook point 'final_rezid'*final_resid*"),
        (
            "nodes: {0.attn.q: [0], 0.attn.v: [0]}\nedges: {0.attn.q -> 0.attn.v: [[0, 0]]}",
            "no weight leads from '0.attn.q' to '0.attn.v'*",
        ),
    ],
)
def test_a_circuit_that_its_own_model_cannot_have_is_refused_with_its_line(
    team: Repository, more: str, says: str
) -> None:
    text = ANSWER.spec_with({}).replace("model: model", "model: ../model")
    team.write("circuits/quote_close.circuit.yaml", text.replace("nodes: {}", more))

    result = team.gate(CANDIDATE, "--circuits-match=matched")

    assert result.ret == 2
    result.stdout.fnmatch_lines([f"*quote_close.circuit.yaml:*:*: {says}"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_match_replaces_an_earlier_one_and_nothing_else(team: Repository) -> None:
    earlier = team.write(
        MATCHED, team.path.joinpath("circuits/quote_close.circuit.yaml").read_text()
    )
    earlier.write_text(earlier.read_text() + "found_by: {matched_with: another}\n")
    again = team.gate(CANDIDATE, "--circuits-match=matched")
    other = team.gate(CANDIDATE, "--circuits-match=circuits")

    assert (again.ret, other.ret) == (0, 2)
    other.stdout.fnmatch_lines(
        ["*circuits/quote_close.circuit.yaml was not written by it and stays as it is*"]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "looks for circuits in a candidate; give it as --circuits-model"),
        ((CANDIDATE, "--circuits-update=new"), "give one of the two"),
    ],
)
def test_it_needs_a_candidate_and_records_nothing(
    team: Repository, options: tuple[str, ...], says: str
) -> None:
    result = team.gate("--circuits-match=matched", *options)

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --circuits-match *{says}"])
