"""`blind` holds where slots do not matter, outwardly or by any path; `depends_on` where they do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim, searching
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.load import parse_spec
from tests.known_models import Weights, write_quote_copier
from tests.known_models.reader import write_name_reader

MakeReader = Callable[..., Model]

BLIND = "blind: {slots: [name], rate: 0.95}"
WORDS = "blind: {slots: [words], rate: 0.95, max_shift: 2}"
ON_CUE = "depends_on: {slots: [cue], rate: 0.95}"
ON_NAME = "depends_on: {slots: [cue, name], rate: 0.95}"
TEXT = """\
version: 1
circuit: quote_close
model: model
behavior:
  prompt: "{{name}} = {{cue}}{{words}}"
  slots:
    name: {{choice: [{names}]}}
    words: {{words: {{from: [alpha, beta, gamma, delta], count: [1, {most}]}}}}
  contrast:
    cue: {{"'": "'", '"': '"'}}
ablation: mean
claims:
  {claim}
protocol: {{pairs: 300, search: 40, margin: {margin}}}
{extra}"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> MakeReader:
    """Give the name reader with these weights, written and loaded once."""

    @cache
    def make(one: float = 0.0, other: float = 0.0, at_end: float = 0.0) -> Model:
        folder = tmp_path_factory.mktemp("reader") / "model"
        return load_model(write_name_reader(folder, one=one, other=other, at_end=at_end))

    return make


def bench_of(
    model: Model,
    claim: str = BLIND,
    *,
    names: str = "value, name, x",
    most: int = 5,
    extra: str = "",
    circuit: str = "quote_close",
    margin: float = 1.0,
) -> Bench:
    text = TEXT.format(claim=claim, names=names, most=most, extra=extra, margin=margin)
    text = text.replace("quote_close", circuit)
    return make_bench(parse_spec(text, path=model.path / "q.circuit.yaml"), model)


def run(
    model: Model, claim: str = BLIND, *, names: str = "value, name, x", most: int = 5
) -> Evidence:
    return run_claim(bench_of(model, claim, names=names, most=most), claim.partition(":")[0])


@pytest.mark.parametrize("claim", [BLIND, WORDS])
def test_slots_that_nothing_reads_do_not_matter(reader: MakeReader, claim: str) -> None:
    evidence = run(reader(), claim)

    assert evidence.verdict is Verdict.PASS, evidence.reason
    assert evidence.measures["not_exchanged"] == 0


def test_the_model_against_itself_stays_green_for_other_seeds(reader: MakeReader) -> None:
    found = [
        run_claim(bench_of(reader(), f"{claim}\n  {ON_CUE}", circuit=f"quote_{seed}", most=2), name)
        for seed in range(2)
        for claim, name in ((BLIND, "blind"), (BLIND, "depends_on"))
    ]

    assert {evidence.verdict for evidence in found} == {Verdict.PASS}


def test_a_name_that_is_read_is_found_and_shown_in_the_smallest_prompt(reader: MakeReader) -> None:
    evidence = run(reader(one=1.5))

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    example = evidence.law.counterexample
    assert example is not None
    assert {example.prompt, example.partner} == {'name = "alpha', 'value = "alpha'}
    assert "a shift of 8.29 nats" in example.violation
    assert example.margins["whole model"] != example.margins["on the partner"]


def test_two_paths_from_the_name_that_cancel_each_other_are_found(reader: MakeReader) -> None:
    evidence = run(reader(one=1.5, other=-1.5))

    assert evidence.rate is not None
    assert evidence.rate.estimate == 1, "outwardly the model is blind"
    assert evidence.law is not None
    assert evidence.law.counterexample is None, "to the search as well"
    assert evidence.verdict is Verdict.FAIL
    assert "of their tokens alone moves the preference by 16" in evidence.reason
    assert "a path uses them" in evidence.reason


def test_what_cancels_at_the_last_token_itself_is_found(reader: MakeReader) -> None:
    evidence = run(reader(at_end=4.0), WORDS)

    assert evidence.law is not None
    assert evidence.law.counterexample is None, "outwardly the model is blind"
    assert evidence.verdict is Verdict.FAIL
    assert "of their tokens alone moves" in evidence.reason


def test_a_value_that_no_other_has_the_tokens_of_is_named_and_decides_nothing(
    reader: MakeReader,
) -> None:
    evidence = run(reader(), names="value, name, user_id")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "as at 'user_id = \"alpha" in evidence.reason
    assert "leave this one out" in evidence.reason


def test_a_shift_that_nothing_could_exceed_is_no_evidence(reader: MakeReader) -> None:
    evidence = run(reader(), "blind: {slots: [name], rate: 0.95, max_shift: 50}")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "no evidence" in evidence.reason


def test_a_preference_that_changes_sides_fails_however_far_it_may_shift(reader: MakeReader) -> None:
    evidence = run(reader(one=4.0), "blind: {slots: [name], rate: 0.95, max_shift: 100}")

    assert evidence.verdict is Verdict.FAIL
    assert "leave the preference with the same token" in evidence.reason


def test_a_space_that_is_small_is_run_whole(reader: MakeReader) -> None:
    evidence = run(reader(), f"{BLIND}\n  {ON_NAME.replace(', name', '')}", most=2)

    assert evidence.rate is not None
    assert evidence.rate.exhaustive
    assert evidence.rate.n == 2 * 3 * 2 * (4 + 4**2), "from each name to both others, either cue"


def test_a_regression_is_tried_with_other_values(reader: MakeReader) -> None:
    text = "value = 'kappa"
    bench = bench_of(reader(), extra=f'regressions: ["{text}"]')

    run_claim(bench, "blind")

    assert {
        (change.first.text, change.second.text)
        for change in bench.tried["blind"]
        if text in change.first.text
    } == {(text, "name = 'kappa"), (text, "x = 'kappa")}


def test_a_search_that_finds_nothing_tries_what_was_evaluated_ahead(reader: MakeReader) -> None:
    bench, card, tried = bench_of(reader()), CLAIMS["blind"].law, set[Pair]()
    assert card is not None
    run_claim(bench, "blind")

    searching(bench, card, tried, name="blind")()

    assert tried == bench.tried["blind"]


def test_logits_that_are_no_numbers_are_no_pass(reader: MakeReader) -> None:
    bench = bench_of(reader(), f"{BLIND}\n  {ON_CUE}")
    margins = bench.runner.margins
    bench.runner.margins = lambda pairs, view: np.nan * margins(pairs, view)  # type: ignore[method-assign]

    found = {run_claim(bench, claim).verdict for claim in ("blind", "depends_on")}

    assert found == {Verdict.FAIL}


def test_the_answer_depends_on_the_cue_and_on_a_name_that_is_read(reader: MakeReader) -> None:
    evidence = run(reader(one=1.5), ON_NAME)

    assert evidence.verdict is Verdict.PASS, evidence.reason
    assert (evidence.measures["rate_cue"], evidence.measures["rate_name"]) == (1, 1)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.5, -1.5)], ids=["not read", "cancelled"])
def test_a_name_that_moves_nothing_is_not_depended_on(
    reader: MakeReader, weights: tuple[float, float]
) -> None:
    evidence = run(reader(*weights), ON_NAME)

    assert evidence.verdict is Verdict.FAIL
    assert "changing 'name' moves the preference by 1 nats on 0.0 %" in evidence.reason
    assert evidence.rate is not None
    assert evidence.rate.estimate == 0, "the slot that matters least counts"


def test_a_model_that_never_looks_at_the_cue_does_not_depend_on_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("deaf") / "model"
    deaf = load_model(write_quote_copier(folder, Weights(path=0.0, weak=0.0)))

    evidence = run(deaf, ON_CUE)

    assert evidence.verdict is Verdict.FAIL
    assert "the cue makes no difference, or the wrong one" in evidence.reason


def test_both_are_compared_with_the_baseline(reader: MakeReader) -> None:
    bench = bench_of(reader(), f"{BLIND}\n  {ON_CUE}")
    compared = make_bench(bench.loaded, reader(one=4.0), baseline=reader())

    blind, depends = (run_claim(compared, claim) for claim in ("blind", "depends_on"))

    assert blind.measures["delta_to_baseline"] == pytest.approx(-0.5, abs=0.3)
    assert depends.measures["delta_to_baseline"] == pytest.approx(-0.5, abs=0.3)
