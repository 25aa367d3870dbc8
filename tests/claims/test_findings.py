"""How a figure and its bounds are decided and said, to the letter."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_circuits.claims.evidence import Rate, Verdict
from pytest_circuits.claims.findings import Finding, bounded, most_controls, rate_finding
from pytest_circuits.claims.statistics import Interval


def loss(lower: float, upper: float, *, exhaustive: bool = False) -> Finding:
    return bounded(
        "its loss is 0.2 nats",
        Interval(0.2, lower, upper),
        0.25,
        needed="at most 0.25 needed",
        show="{:.2g}".format,
        alpha=0.01,
        exhaustive=exhaustive,
        capped=True,
        advice="raise protocol.pairs",
    )


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (0.1, 0.24, "at most 0.24 with 99 % confidence, losses beyond 2.5 nats counted as 2.5"),
        (0.3, 0.4, "at least 0.3 with 99 % confidence, losses beyond 2.5 nats counted as 2.5"),
    ],
    ids=["pass", "fail"],
)
def test_a_figure_is_said_with_the_bound_that_decides_it(
    lower: float, upper: float, said: str
) -> None:
    found = loss(lower, upper)

    assert found.sentence == f"its loss is 0.2 nats ({said}; at most 0.25 needed)"


def test_an_undecided_figure_is_said_with_both_bounds_and_with_what_settles_it() -> None:
    assert loss(0.1, 0.3).sentence == (
        "its loss is 0.2 nats, truly between 0.1 and 0.3 with 99 % confidence, losses beyond 2.5 "
        "nats counted as 2.5: undecided (at most 0.25 needed; raise protocol.pairs)"
    )


def test_a_whole_space_has_no_bounds() -> None:
    assert loss(0.2, 0.2, exhaustive=True).sentence == "its loss is 0.2 nats (at most 0.25 needed)"


def test_a_rate_that_must_be_low_is_said_with_its_upper_bound() -> None:
    rate = Rate(0.5, 0.45, 0.55, 0.65, 500, exhaustive=False, at_most=True)

    assert rate_finding(rate, what="it is preferred", alpha=0.01).sentence == (
        "it is preferred on 50.0 % of 500 prompts (at most 55.0 % with 99 % confidence; at most "
        "65.0 % needed)"
    )


def test_an_undecided_rate_says_how_many_prompts_would_settle_it() -> None:
    rate = Rate(0.96, 0.94, 0.98, 0.95, 300, exhaustive=False)

    assert rate_finding(rate, what="it is preferred", alpha=0.01).sentence == (
        "it is preferred on 96.0 % of 300 prompts, truly between 94.0 % and 98.0 %: undecided (at "
        "least 95.0 % needed; about 2807 prompts would settle it, see protocol.pairs)"
    )


def beside(outdone: int, controls: int) -> Finding:
    return most_controls(
        np.arange(controls) < outdone,
        f"{outdone} of {controls}",
        alpha=0.01,
        failed=": junk",
        undecided=": undecided",
    )


@pytest.mark.parametrize(("outdone", "controls"), [(33, 59), (220, 399), (550, 999)])
def test_more_controls_make_no_pass_of_what_is_just_above_one_half(
    outdone: int, controls: int
) -> None:
    found = beside(outdone, controls)

    assert found.verdict is Verdict.FAIL
    assert found.sentence == f"{outdone} of {controls} (at least 75.0 % needed): junk"


@pytest.mark.parametrize(
    ("outdone", "controls", "verdict"),
    [
        (19, 19, Verdict.PASS),
        (18, 19, Verdict.INCONCLUSIVE),
        (53, 59, Verdict.PASS),
        (52, 59, Verdict.INCONCLUSIVE),
        (780, 999, Verdict.INCONCLUSIVE),
        (790, 999, Verdict.PASS),
    ],
)
def test_three_quarters_of_random_circuits_have_to_be_shown(
    outdone: int, controls: int, verdict: Verdict
) -> None:
    assert beside(outdone, controls).verdict is verdict
