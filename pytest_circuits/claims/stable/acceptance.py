"""What a new baseline accepts, in plain numbers: for the run that writes it, and for its review."""

from __future__ import annotations

import numpy as np

from pytest_circuits.claims.evidence import percent
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.stable.baseline import Recorded
from pytest_circuits.claims.stable.comparison import Comparison, compare

_MOVED = 3  # nodes that are named


def accepted_changes(
    before: Recorded, after: Recorded, sample: Sample, *, alpha: float, margin: float
) -> list[str]:
    """What recording `after` in place of `before` accepts: one short sentence each.

    sample: the prompts of the new one. Of another specification's baseline the rates alone count.
    """
    found = []
    if before.model.digest != after.model.digest:
        found.append(f"model {before.model.digest[:12]} -> {after.model.digest[:12]}")
    for claim in dict.fromkeys((*before.rates, *after.rates)):
        old, new = before.rates.get(claim), after.rates.get(claim)
        shown = [percent(rate.estimate) if rate else "not accepted" for rate in (old, new)]
        if shown[0] != shown[1]:
            found.append(f"{claim} {shown[0]} -> {shown[1]}")
    if (before.spec_digest, before.prompts_digest) != (after.spec_digest, after.prompts_digest):
        return [*found, "the specification changed, so that nodes and prompts are not compared"]
    forms = [(x.model.tokenizer_digest, dict(x.model.hook_points)) for x in (before, after)]
    if forms[0] != forms[1]:
        return [*found, "another tokenizer or shape, so that nodes and prompts are not compared"]
    # Each of the two has probes of its own.
    seen = compare(
        before.observation,
        after.observation,
        sample,
        alpha=alpha,
        margin=margin,
        same_probes=False,
    )
    return [*found, *_inside(before, after, seen)]


def _inside(before: Recorded, after: Recorded, seen: Comparison) -> list[str]:
    old, new = before.observation, after.observation
    found = []
    median = [float(np.median(np.abs(x.alone))) for x in (old, new)]
    if f"{median[0]:.2f}" != f"{median[1]:.2f}":
        found.append(f"the circuit's median preference {median[0]:.2f} -> {median[1]:.2f} nats")
    if f"{seen.identity:.3f}" != "1.000":
        found.append(f"its nodes' signals correlate by {seen.identity:.3f}")
    change = np.abs(new.effects - old.effects)
    for i in np.argsort(-change, kind="stable")[:_MOVED]:
        if f"{old.effects[i]:.2f}" != f"{new.effects[i]:.2f}":
            moved = f"{old.effects[i]:.2f} -> {new.effects[i]:.2f} nats"
            found.append(f"effect of {after.node_ids[i]} {moved}")
    return found
