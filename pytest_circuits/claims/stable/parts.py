"""What each part of `stable` found: transfer, identity, effects, structure, or strangers."""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.attention import shows_attention
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import Finding, bounded, decided
from pytest_circuits.claims.stable.comparison import LINEAGE, Comparison, Structure
from pytest_circuits.claims.stable.observed import sample_of
from pytest_circuits.claims.statistics import Interval
from pytest_circuits.spec.types import EffectsPart, IdentityPart, StructurePart

_NAMED = 3  # nodes that carry another signal


def stranger(seen: Comparison) -> Finding:
    """Say that nodes cannot be compared, which is not a pass."""
    return Finding(
        Verdict.INCONCLUSIVE,
        "not comparable: channels all over the model correlate with those of the baseline by "
        f"{seen.lineage:.2f} on average (at least {LINEAGE:g} needed), so that node numbers mean "
        "other nodes (another seed? permuted channels?); `--circuits-match` looks for the circuit "
        "anew",
        "node numbers are not comparable",
    )


def other_text() -> Finding:
    """Say that ablations cannot be compared, which is not a pass."""
    return Finding(
        Verdict.INCONCLUSIVE,
        "not comparable: what an ablation puts in place of a node was measured on another text "
        "than in the baseline; measure it on the same one (`pytest-circuits reference CANDIDATE "
        "--like MODEL`), or record the baseline again",
        "measured on another text, not comparable",
    )


def transfer(
    what: str, verbs: tuple[str, str], change: Interval, most: float, bench: Bench
) -> Finding:
    sample, alpha = sample_of(bench), bench.spec.protocol.alpha
    verb, size = verbs[change.estimate < 0], _points(abs(change.estimate))
    seen = f"transfer: {what} {verb} by {size} on {sample.prompts(change)} prompts"
    return bounded(
        seen + ", the whole space" * sample.exhaustive,
        change,
        most,
        needed=f"at most {_points(most)} allowed",
        show=_points,
        alpha=alpha,
        exhaustive=sample.exhaustive,
        advice="raise protocol.pairs",
        called=f"the change of {what}",
    )


def made_up(seen: Comparison, most: float) -> Finding:
    """Decide whether as much of the whole model's preference is the circuit's as before."""
    before, after = (
        f"{alone:.2f} of {whole:.2f} nats"
        for alone, whole in zip(seen.alone, seen.whole, strict=True)
    )
    text = (
        f"transfer: of the whole model's preference the circuit alone has {after}, in the baseline "
        f"{before} (at most {most:g} times more or less of it allowed)"
    )
    why = "it has another share of the preference"
    return decided(holds=seen.factor <= most, sentence=text, why=why)


def identity(bench: Bench, seen: Comparison, limits: IdentityPart) -> list[Finding]:
    """Decide whether nodes carry the same signals, and heads look at the same tokens."""
    held = seen.identity >= limits.min_correlation
    text = (
        "identity: its nodes' signals correlate with the baseline's by "
        f"{seen.identity:.3f} on average, weighted by their effects (at least "
        f"{limits.min_correlation:g} needed"
    )
    if not held:
        worst = int((seen.weights * (1 - seen.alike)).argmax())
        text += f"; most is lost at {bench.nodes.ids()[worst]}, {seen.alike[worst]:.3f}"
    mean = decided(holds=held, sentence=f"{text})", why="its nodes carry other signals")
    findings = [mean, *_each(bench, seen, limits)]
    if not shows_attention(bench.model):
        text = "identity: what its heads attend to cannot be compared: this model does not show it"
        why = "the model does not show its attention"
        findings.append(Finding(Verdict.INCONCLUSIVE, text, why))
    if len(seen.apart):
        worst = int(seen.apart.argmax())
        layer, head = bench.heads[worst]
        moved = float(seen.apart[worst])
        text = (
            f"identity: attention of its heads moves by at most {moved:.2f} (head {head} of "
            f"layer {layer}; at most {limits.max_attention:g} allowed)"
        )
        is_held, why = moved <= limits.max_attention, "its heads attend elsewhere"
        findings.append(decided(holds=is_held, sentence=text, why=why))
    return findings


def _each(bench: Bench, seen: Comparison, limits: IdentityPart) -> list[Finding]:
    """Name the nodes that do much and carry another signal, which a mean can hide."""
    lost = np.flatnonzero(seen.matters & (seen.alike < limits.min_each))
    if not len(lost):
        return []
    ids = bench.nodes.ids()
    named = ", ".join(f"{ids[i]} ({seen.alike[i]:.2f})" for i in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    text = (
        f"identity: another signal than in the baseline is carried by {named}{more} (each node "
        f"that does much has to correlate by at least {limits.min_each:g})"
    )
    return [Finding(Verdict.FAIL, text, "a node carries another signal")]


def effects(bench: Bench, seen: Comparison, limits: EffectsPart) -> list[Finding]:
    """Decide whether the nodes' effects on the whole model keep their order and their sizes."""
    return [_order(bench, seen, limits), _sizes(bench, seen, limits)]


def _sizes(bench: Bench, seen: Comparison, limits: EffectsPart) -> Finding:
    worst = int(seen.moved.argmax())
    before, after = (
        f"{added[worst]:.2f} of {whole:.2f}"
        for added, whole in zip(seen.added, seen.whole, strict=True)
    )
    text = (
        "effects: as shares of the whole model's preference they change by at most "
        f"{_points(seen.moved[worst])} ({bench.nodes.ids()[worst]} {before} -> {after} nats; "
        f"at most {_points(limits.max_change)} allowed)"
    )
    is_held, why = bool(seen.moved[worst] <= limits.max_change), "effects have changed in size"
    return decided(holds=is_held, sentence=text, why=why)


def _order(bench: Bench, seen: Comparison, limits: EffectsPart) -> Finding:
    if seen.effects is None:
        return Finding(Verdict.PASS, "effects: all nodes have the same effect in the baseline")
    text = (
        f"effects: those of its nodes on the whole model are ranked as before by {seen.effects:.2f}"
    )
    needed = f"at least {limits.min_correlation:g} needed"
    if seen.effects >= limits.min_correlation:
        return Finding(Verdict.PASS, f"{text} ({needed})")
    before, after = seen.added
    worst = int(abs(after - before).argmax())
    moved = f"{bench.nodes.ids()[worst]} {before[worst]:.2f} -> {after[worst]:.2f} nats"
    text += f" ({needed}; most moved: {moved})"
    return Finding(Verdict.FAIL, text, "effects have changed in order")


def structure(found: Structure | None, limits: StructurePart | None) -> list[Finding]:
    """Decide whether circuits that are pruned anew are as near as by seed alone, if it decides."""
    if found is None or limits is None:
        return []
    text = (
        f"structure: circuits pruned anew share {found.between:.2f} of their nodes with the "
        f"baseline's, which share {found.within:.2f} among themselves (at least {found.least:.2f} "
        f"{'needed' if limits.gate else 'would be as near'}; by chance {found.chance:.2f})"
    )
    is_held, why = found.kept or not limits.gate, "pruned anew, it is another circuit"
    return [decided(holds=is_held, sentence=text, why=why)]


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
