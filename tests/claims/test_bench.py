"""The prompts of the rates: independent draws, or the whole space with its probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from pytest_circuits.claims.evidence import prompts_of
from pytest_circuits.claims.sample import Sample, draw_sample
from pytest_circuits.claims.statistics import Interval
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.types import Behavior

SMALL = {
    "prompt": "{name} {quote}{words}",
    "slots": {
        "name": {"choice": ["x", "y"]},
        "words": {"words": {"from": ["a", "b", "c"], "count": [0, 2]}},
    },
    "contrast": {"quote": {"'": "'", '"': '"'}},
}
EVERY = Interval(0.5, 0.5, 0.5)


def space_of(fields: Mapping[str, object]) -> PromptSpace:
    return PromptSpace(Behavior.model_validate(fields, strict=False))


def test_a_space_that_is_small_enough_is_taken_whole() -> None:
    sample = draw_sample(space_of(SMALL), count=100, seed=7)

    assert sample.exhaustive
    assert len(sample.pairs) == 2 * (1 + 3 + 9)
    assert sample.prompts(EVERY) == 2 * len(sample.pairs)
    assert sample.weights.sum() == pytest.approx(1)


def test_in_a_whole_space_every_prompt_counts_by_its_probability() -> None:
    sample = draw_sample(space_of(SMALL), count=100, seed=7)
    empty = np.array([pair.first.text in {'x "', 'y "'} for pair in sample.pairs])
    holds = np.stack([empty, np.zeros_like(empty)], axis=1)

    interval = sample.rate(holds, 0.01)

    assert interval.lower == interval.estimate == interval.upper == pytest.approx(1 / 6)


def test_of_a_sampled_pair_one_prompt_counts() -> None:
    sample = draw_sample(space_of(SMALL), count=20, seed=7)
    holds = np.stack([sample.member == 0, sample.member == 1], axis=1)

    assert not sample.exhaustive
    assert sample.prompts(EVERY) == 20
    assert set(sample.member) == {0, 1}
    assert sample.rate(holds, 0.01).estimate == 1
    assert sample.rate(~holds, 0.01).estimate == 0


def test_a_space_of_few_texts_is_taken_whole_however_many_ways_there_are_to_them() -> None:
    words = {"words": {"from": ["a", "aa", "aaa"], "count": [1, 6], "separator": ""}}
    joined = {**SMALL, "prompt": "{quote}{words}", "slots": {"words": words}}

    sample = draw_sample(space_of(joined), count=100, seed=7)
    rate = sample.against(EVERY, 0.5)

    assert sample.exhaustive
    assert len(sample.pairs) == 18
    assert sample.weights.sum() == pytest.approx(1)
    assert (rate.n, rate.distinct) == (36, None)
    assert prompts_of(rate) == "36 prompts"


def test_a_sample_counts_its_distinct_prompts() -> None:
    sample = draw_sample(space_of(SMALL), count=20, seed=7)
    drawn = {(pair, member) for pair, member in zip(sample.pairs, sample.member, strict=True)}

    rate = sample.against(EVERY, 0.5)

    assert len(drawn) < 20
    assert (rate.n, rate.distinct) == (20, len(drawn))
    assert prompts_of(rate) == f"20 prompts ({len(drawn)} distinct)"


def test_equal_seeds_give_equal_samples_and_other_seeds_others() -> None:
    first, again, other = (draw_sample(space_of(SMALL), count=20, seed=s) for s in (7, 7, 8))

    assert first.pairs == again.pairs
    assert (first.member == again.member).all()
    assert first.pairs != other.pairs


def test_a_few_pairs_of_a_whole_space_are_spread_over_it() -> None:
    sample = draw_sample(space_of(SMALL), count=100, seed=7)

    few = sample.few(8, seed=7)

    assert len(set(few)) == 8
    assert few != sample.pairs[:8]
    assert few == sample.few(8, seed=7)


def test_a_few_pairs_for_a_mean_are_there_as_often_as_they_are_likely() -> None:
    sample = draw_sample(space_of(SMALL), count=100, seed=7)

    few = sample.few_by_weight(16, seed=7)

    expected = 16 * sample.weights
    taken = np.array([few.count(pair) for pair in sample.pairs])
    assert taken.sum() == 16
    assert (abs(taken - expected) < 1).all()
    assert few == sample.few_by_weight(16, seed=7)
    assert few != sample.few_by_weight(16, seed=8)


def test_of_equally_likely_pairs_any_few_will_do() -> None:
    sample = replace(draw_sample(space_of(SMALL), count=100, seed=7), weights=np.full(26, 1 / 26))

    assert sample.few_by_weight(16, seed=7) == sample.few(16, seed=7)


def test_a_shortened_sample_keeps_its_first_draws() -> None:
    sample = draw_sample(space_of(SMALL), count=20, seed=7)

    short: Sample = sample.shortened(5)

    assert short.pairs == sample.pairs[:5]
    assert short.weights.sum() == pytest.approx(1)
