"""The plan of a specification as text: one row per claim, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_circuits.plan.needs import POWER, Need
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.problems import listed, visible
from pytest_circuits.spec.types import Spec

_HEAD = (
    *("claim", "needs", "shown by", "prompts", "may go wrong", "fewest", "forwards"),
    f"prompts for a pass with {POWER:.0%} probability, if the true rate is",
)
_NUMBERS = range(3, 7)  # columns
_GREATEST = 100_000  # that protocol.pairs can be


def plan_lines(
    spec: Spec,
    needs: Sequence[Need],
    costs: Mapping[str, int | None],
    *,
    lax: Sequence[str],
    seconds: float | None,
) -> Iterator[str]:
    """Give the lines; seconds: of one prompt-forward, None where no model is at hand.

    lax: what is lax about the specification.
    """
    yield _title(spec)
    yield ""
    rows = [_HEAD, *(_row(need, costs[need.claim]) for need in needs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    yield ""
    yield _total(costs, seconds)
    yield from (f"lax, and so the grade is at most partial: {text}" for text in lax)
    yield from _advice(spec, needs)


def _title(spec: Spec) -> str:
    space, pairs = PromptSpace(spec.behavior), spec.protocol.pairs
    groups = space.groups
    whole = max(group.size for group in groups) <= pairs
    how = "all of which are run" if whole else f"of which {pairs:,} are drawn"
    if len(groups) > 1:
        how += " in" if whole else " for each of"
        how += f" {len(groups)} groups ({listed(group.key for group in groups)})"
    return f"{spec.circuit}: {space.size:,} pairs of prompts, {how}; alpha {spec.protocol.alpha:g}"


def _row(need: Need, forwards: int | None) -> tuple[str, ...]:
    cost = "?" if forwards is None else f"{forwards:,}"
    limit = need.threshold
    if limit is None:
        return (need.claim, "-", "-", "-", "-", "-", cost, "-")
    if need.proof:
        return (need.claim, limit.text, "proof", f"all {need.n:,}", "-", "-", cost, "-")
    wrong = "-" if need.wrong is None else f"{need.wrong:,}"
    known = (need.claim, limit.text, "sample", f"{need.n:,}", wrong, f"{need.fewest:,}", cost)
    return (*known, "   ".join(limit.prompts()))


def _total(costs: Mapping[str, int | None], seconds: float | None) -> str:
    forwards = sum(cost or 0 for cost in costs.values())
    unknown = [claim for claim, cost in costs.items() if cost is None]
    without = f", without {', '.join(unknown)}" if unknown else ""
    text = f"at most {forwards:,} prompt-forwards{without}"
    if seconds is None:
        return f"{text}; no model is at hand to measure how long one takes"
    return f"{text}: about {seconds * forwards:.2g} s here, at {1000 * seconds:.2g} ms each"


def _advice(spec: Spec, needs: Sequence[Need]) -> Iterator[str]:
    for need in needs:
        if need.is_hopeless and (limit := need.threshold):
            loss = "" if limit.max_loss is None else f" and at most {limit.max_loss:g} nats"
            yield (
                f"{need.claim} cannot pass: at least {need.fewest:,} prompts are needed for "
                f"{limit.text}{loss}, and there are {need.n:,}"
            )
    size = max(group.size for group in PromptSpace(spec.behavior).groups)
    if spec.protocol.pairs < size <= _GREATEST:
        yield f"with protocol.pairs: {size} the whole space is run, and rates are proven"
    for claim, reason in spec.undeclared.items():
        yield f"{claim} is not declared: {visible(' '.join(reason.split()))}"
