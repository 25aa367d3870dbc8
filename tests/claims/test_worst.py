"""Every claim that does not pass shows the prompts that went worst for it, with their logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.card import Ranked, Run, run_of
from pytest_circuits.claims.evidence import Asked, Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.worst import with_worst, worst_of
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import load_spec
from tests.claims.conftest import MakeModel
from tests.known_models import NAMES, QUOTE_PATH, WEAK_PATH, Weights, merged, quote_spec

TURNED = Weights(path=-1.5, bracket=0.0)  # copies the other quote, and no bracket
PROTOCOL = "{pairs: 100, search: 10, controls: 19}"


@pytest.fixture(scope="module")
def failing(
    copier: Model, make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    """A circuit of which nothing holds: what it is about has turned round since the baseline."""
    folder = tmp_path_factory.mktemp("failing")
    other = quote_spec({}, name="bracket", behavior="bracket", protocol=PROTOCOL)
    (folder / "bracket.circuit.yaml").write_text(other)
    path, nodes = folder / "q.circuit.yaml", merged(QUOTE_PATH, WEAK_PATH)
    path.write_text(quote_spec(nodes, claims=tuple(CLAIMS), protocol=PROTOCOL))
    return make_bench(load_spec(path), make_model(TURNED), baseline=copier)


def shown(evidence: Evidence) -> tuple[Asked, ...]:
    assert evidence.worst is not None
    return evidence.worst.prompts


@pytest.mark.parametrize("claim", CLAIMS)
def test_whatever_claim_fails_shows_three_prompts_with_their_logits(
    failing: Bench, claim: str
) -> None:
    evidence = run_claim(failing, claim)

    assert evidence.verdict is Verdict.FAIL
    asked = shown(evidence)
    assert len({(each.prompt, each.foil) for each in asked}) == 3
    for seen in (seen for each in asked for seen in each.seen):
        if seen.answer is None or seen.foil is None:
            assert seen.run == "on the partner"
            continue
        assert seen.margin == pytest.approx(seen.answer - seen.foil)
    assert all(each.seen[0].answer is not None for each in asked)


@pytest.mark.parametrize("claim", CLAIMS)
def test_whatever_claim_fails_says_why_in_a_few_words(failing: Bench, claim: str) -> None:
    evidence = run_claim(failing, claim)

    assert evidence.why
    assert all(len(why.split()) <= 9 for why in evidence.why.split(", "))
    assert "…" not in evidence.why


def test_no_prompt_went_worse_than_those_that_are_shown(failing: Bench) -> None:
    sample = failing.sample
    margins = failing.runner.margins(sample.pairs, WHOLE)[np.arange(100), sample.member]

    asked = shown(run_claim(failing, "behaves"))

    assert [each.seen[0].margin for each in asked] == pytest.approx(np.sort(margins)[:3].tolist())


@pytest.mark.parametrize("claim", ["behaves", "blind"])
def test_a_card_that_ranks_no_prompts_shows_those_that_go_furthest_against_its_law(
    failing: Bench, claim: str
) -> None:
    card = replace(CLAIMS[claim], worst=None)

    evidence = with_worst(failing, card, Evidence(claim, Verdict.FAIL, "it fails"))

    first, *others = shown(evidence)
    assert card.law is not None
    excess = [
        card.law.excess(tuple(np.array([[x.margin] * 2]) for x in each.seen))[0, 0]
        for each in (first, *others)
    ]
    assert excess == sorted(excess, reverse=True)
    assert len(excess) == 3


def test_of_several_groups_the_prompts_are_those_of_the_one_that_decides(
    copier: Model, tmp_path: Path
) -> None:
    one, two = '"{name} = {cue}{words}"', '["{name} = {cue}{words}", "{words} = {cue}{name}"]'
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, protocol=PROTOCOL).replace(one, two))
    bench = make_bench(load_spec(path), copier)
    sample, run = bench.sample, run_of(bench.runner, WHOLE, name="whole model")
    badness = np.repeat(sample.group[:, None] == 0, 2, axis=1).astype(float)

    worst = worst_of(Ranked("any", sample, badness, (run,)), group=sample.groups[1].name)

    assert [each.prompt.split()[0] in NAMES for each in worst.prompts] == [False] * 3


def test_a_prompt_whose_logits_are_no_numbers_is_the_worst(failing: Bench) -> None:
    sample = failing.sample
    margins = np.repeat(np.arange(float(len(sample.pairs)))[:, None], 2, axis=1)
    margins[70] = np.inf
    run = Run("any", lambda pairs: margins[[sample.pairs.index(pair) for pair in pairs]], None)

    worst = worst_of(Ranked("any", sample, -margins, (run,)))

    assert [each.seen[0].margin for each in worst.prompts] == [None, 0, 1]


def test_a_claim_that_passes_shows_none(copier: Model, tmp_path: Path) -> None:
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, claims=("behaves",), protocol="{pairs: 300}"))

    evidence = run_claim(make_bench(load_spec(path), copier), "behaves")

    assert (evidence.verdict, evidence.worst) == (Verdict.PASS, None)


def test_a_claim_that_is_not_decided_shows_them_too(copier: Model, tmp_path: Path) -> None:
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, claims=("behaves",), protocol="{pairs: 100}"))

    evidence = run_claim(make_bench(load_spec(path), copier), "behaves")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert len(shown(evidence)) == 3
