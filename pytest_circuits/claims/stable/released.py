"""A baseline file held against the model that it was recorded from, where that is at hand.

The digest in a file tells that it was edited, but who edits it can make the digest anew. The model
cannot be talked into other numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.claims import statistics
from pytest_circuits.claims.stable.baseline import AGAIN, Recorded
from pytest_circuits.claims.stable.comparison import apart
from pytest_circuits.claims.stable.observation import Observation, observe
from pytest_circuits.claims.stable.observed import observed_prompts
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.errors import BaselineError
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference

if TYPE_CHECKING:
    from pytest_circuits.claims.bench import Bench

SPOT_PAIRS = 16  # whose margins are measured; signals, effects and attention are, in full
NEAR = 0.01  # of the largest number: by rounding, and on another machine, they differ by less
ALIKE = 0.99  # correlation of signals


def check_measured(bench: Bench, recorded: Recorded, released: Model) -> None:
    """Raise BaselineError when a file says what the model it was recorded from does not show.

    bench: the candidate's. The pairs whose margins are measured depend on the candidate, so that
    who writes a file for all candidates cannot know them.
    """
    reference = load_reference(released)
    if reference.text_digest != recorded.reference_text:
        problem = "says that its reference was measured on another text"
    else:
        prompts = observed_prompts(bench)
        chosen = _spots(bench, len(prompts.rates))
        spots = replace(prompts, rates=tuple(prompts.rates[i] for i in chosen))
        runner = Runner(in_scope(bench.spec, released), reference, bench.runner.ablation)
        measured = observe(runner, bench.place, spots, probes=recorded.observation.probes)
        problem = _difference(_only(recorded.observation, chosen), measured)
    if problem:
        raise BaselineError(
            f"{bench.loaded.path}: the baseline beside it {problem} than the model that it names, "
            f"{released.path} ({released.digest[:12]}), shows; it was edited, or recorded by "
            f"another version; check out the file that was reviewed, or {AGAIN} from that model"
        )


def _spots(bench: Bench, count: int) -> list[int]:
    generator = np.random.default_rng([bench.seed, int(bench.model.digest[:15], 16)])
    return sorted(int(i) for i in generator.permutation(count)[:SPOT_PAIRS])


def _only(found: Observation, chosen: list[int]) -> Observation:
    return replace(
        found,
        whole=found.whole[chosen],
        alone=found.alone[chosen],
        without=found.without[chosen],
    )


def _difference(told: Observation, shown: Observation) -> str:
    """What a file says otherwise; empty where it agrees with what was measured."""
    for what, one, other in (
        ("preferences of the whole model", told.whole, shown.whole),
        ("preferences of the circuit alone", told.alone, shown.alone),
        ("preferences without the circuit", told.without, shown.without),
        ("effects", told.effects, shown.effects),
    ):
        if (most := float(np.abs(one - other).max())) > NEAR * (1 + np.abs(other).max()):
            return f"holds other {what} (by up to {most:.2f} nats)"
    for what, one, other in (
        ("signals", told.signals, shown.signals),
        ("signals of probes", told.probed, shown.probed),
    ):
        if (least := _least(one, other)) < ALIKE:
            return f"holds other {what} (one correlates by {least:.2f})"
    if (moved := float(apart(told.attention, shown.attention).max(initial=0))) > 2 * NEAR:
        return f"holds other attention (by up to {moved:.2f})"
    return ""


def _least(one: Floats, other: Floats) -> float:
    return float(statistics.correlations(one, other).min(initial=1.0))
