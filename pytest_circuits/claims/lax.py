"""What a specification asks so little by that a wrong circuit would pass: its lax limits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pytest_circuits.claims.registry import declared
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.lax import lax_limits
from pytest_circuits.spec.load import LoadedSpec

FEWEST = 16  # distinct pairs; what does fewer right may have learnt them by heart


def lax_of(loaded: LoadedSpec) -> tuple[str, ...]:
    """What is lax about a specification, one sentence each: limits, protocol and prompts."""
    spec = loaded.spec
    found = [
        text
        for claim in declared(spec)
        for text in lax_limits(getattr(spec.claims, claim), place=claim)
    ]
    found += lax_limits(spec.protocol, place="protocol")
    if (count := _distinct(_pairs(loaded))) < FEWEST:
        pairs = "pair" if count == 1 else "pairs"
        found.append(f"{count} distinct {pairs} of prompts (fewer than {FEWEST} prove no law)")
    return tuple(found)


def _pairs(loaded: LoadedSpec) -> Iterator[Pair]:
    """The pairs of the sample, as `draw_sample` draws them, one after the other."""
    space, most = PromptSpace(loaded.spec.behavior), loaded.spec.protocol.pairs
    if space.size <= most:
        return (pair for pair, _ in space.enumerate())
    return map(space.pair, islice(space.draws(seed=loaded.seed), most))


def _distinct(pairs: Iterator[Pair]) -> int:
    """How many different pairs there are, as far as it matters; slots may fill in the same text."""
    seen: set[Pair] = set()
    for pair in pairs:
        seen.add(pair)
        if len(seen) == FEWEST:
            break
    return len(seen)
