"""Hypothesis with every setting fixed: no profile, database or CI variable changes the search."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from pytest_circuits.prompts.space import Pair


def configured(
    test: Callable[[], None], *, search: int, start: int, phases: tuple[Phase, ...]
) -> Callable[[], None]:
    fixed = settings(
        max_examples=search,
        derandomize=False,
        database=None,
        deadline=None,
        verbosity=Verbosity.normal,
        phases=phases,
        stateful_step_count=1,
        report_multiple_bugs=False,
        print_blob=False,
        # The first forward is slow, and a law runs its own stream once, inside its first example.
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.nested_given),
        backend="hypothesis",
    )
    seeded: Callable[[], None] = seed(start)(fixed(test))
    return seeded


def stream(strategy: SearchStrategy[Pair], *, search: int, start: int) -> tuple[Pair, ...]:
    """The pairs that a search tries, in order, as long as it finds nothing; each once."""
    pairs: dict[Pair, None] = {}

    def record(pair: Pair) -> None:
        pairs[pair] = None

    test = given(pair=strategy)(record)
    configured(test, search=search, start=start, phases=(Phase.generate,))()
    return tuple(pairs)
