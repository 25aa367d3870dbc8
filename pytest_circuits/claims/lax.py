"""What a specification asks so little by that a wrong circuit would pass: its lax limits."""

from __future__ import annotations

from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.sample import draw_sample
from pytest_circuits.prompts.space import PromptSpace
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
    space = PromptSpace(spec.behavior)
    sample = draw_sample(space, count=spec.protocol.pairs, seed=loaded.seed)
    if (count := len({*sample.pairs})) < FEWEST:
        pairs = "pair" if count == 1 else "pairs"
        found.append(f"{count} distinct {pairs} of prompts (fewer than {FEWEST} prove no law)")
    return tuple(found)
