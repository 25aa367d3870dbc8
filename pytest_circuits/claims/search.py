"""How prompts that break a law are looked for: by Hypothesis, and near those that come closest.

Every setting of Hypothesis is fixed: no profile, database or CI variable changes the search. It
draws without looking at the margins. Its `target` would, one prompt at a time and for each claim
another stream, and found no more where both were measured. Here all claims keep one stream, and the
prompts near its best ones are tried in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from pytest_circuits.claims.statistics import Floats
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.template import is_listed

ROUNDS = 4
STARTS = 3  # pairs of each round, whose neighbors are tried


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
        suppress_health_check=(HealthCheck.too_slow,),  # the first forward is slow
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


def climb(
    space: PromptSpace,
    pairs: Sequence[Pair],
    excess: Callable[[Sequence[Pair]], Floats],
    *,
    tries: int,
    seed: int,
) -> tuple[Pair, ...]:
    """Return pairs of the space with as high an excess as a few rounds from these pairs can reach.

    excess: how far each of several pairs goes towards breaking the law, [n]. tries: how many pairs
    are tried besides, at most. seed: decides which neighbors are tried where there are too many.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, 7], dtype=np.uint64)))
    known = dict(zip(pairs, excess(pairs).tolist(), strict=True))
    tried: list[Pair] = []
    for round_ in range(ROUNDS):
        best = sorted(known, key=lambda pair: -known[pair])[:STARTS]
        near = dict.fromkeys(pair for one in best for pair in neighbors(space, one))
        new = [pair for pair in near if pair not in known]
        most = tries * (round_ + 1) // ROUNDS - len(tried)
        new = [new[i] for i in rng.permutation(len(new))[:most]]
        if new:
            known.update(zip(new, excess(new).tolist(), strict=True))
            tried += new
    return tuple(tried)


def neighbors(space: PromptSpace, pair: Pair) -> Iterator[Pair]:
    """Give the pairs of a space that differ from one in one slot, by one word or by a few steps.

    None for a pair of which that is not clear: its text may hold what no slot lists, as that of a
    regression, or be read in more ways than one. A law is about the declared space alone.
    """
    place = space.locate(pair)
    if place is None or not is_listed(space.behavior, place[1]):
        return
    group, values = place
    slots = {name: slot for name, slot in space.behavior.slots.items() if name in values}
    for name, slot in slots.items():
        for text in slot.neighbors(values[name]):
            yield group.pair({**values, name: text})
