"""What each part of `stable` found: transfer, identity, effects, structure, or strangers."""

from __future__ import annotations

from pytest_circuits.circuit.attention import shows_attention
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import Finding, bounded, decided
from pytest_circuits.claims.stable.comparison import LINEAGE, Comparison, Structure
from pytest_circuits.claims.stable.observed import sample_of
from pytest_circuits.claims.statistics import Floats, Interval
from pytest_circuits.spec.types import EffectsPart, IdentityPart, StructurePart


def stranger(seen: Comparison) -> Finding:
    """Say that nodes cannot be compared, which is not a pass."""
    return Finding(
        Verdict.INCONCLUSIVE,
        "not comparable: channels all over the model correlate with those of the baseline by "
        f"{seen.lineage:.2f} on average (at least {LINEAGE:g} needed), so that node numbers mean "
        "other nodes (another seed? permuted channels?); `--circuits-match` looks for the circuit "
        "anew",
    )


def other_text() -> Finding:
    """Say that ablations cannot be compared, which is not a pass."""
    return Finding(
        Verdict.INCONCLUSIVE,
        "not comparable: what an ablation puts in place of a node was measured on another text "
        "than in the baseline; measure it on the same one (`pytest-circuits reference CANDIDATE "
        "--like MODEL`), or record the baseline again",
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
    )


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
    findings = [decided(holds=held, sentence=f"{text})")]
    if not shows_attention(bench.model):
        text = "identity: what its heads attend to cannot be compared: this model does not show it"
        findings.append(Finding(Verdict.INCONCLUSIVE, text))
    if len(seen.apart):
        worst = int(seen.apart.argmax())
        layer, head = bench.heads[worst]
        moved = float(seen.apart[worst])
        text = (
            f"identity: attention of its heads moves by at most {moved:.2f} (head {head} of "
            f"layer {layer}; at most {limits.max_attention:g} allowed)"
        )
        findings.append(decided(holds=moved <= limits.max_attention, sentence=text))
    return findings


def effects(
    bench: Bench, before: Floats, after: Floats, seen: Comparison, limits: EffectsPart
) -> Finding:
    """Decide whether the nodes' effects on the whole model keep their order."""
    if seen.effects is None:
        return Finding(Verdict.PASS, "effects: all nodes have the same effect in the baseline")
    text = (
        f"effects: those of its nodes on the whole model are ranked as before by {seen.effects:.2f}"
    )
    needed = f"at least {limits.min_correlation:g} needed"
    if seen.effects >= limits.min_correlation:
        return Finding(Verdict.PASS, f"{text} ({needed})")
    worst = int(abs(after - before).argmax())
    moved = f"{bench.nodes.ids()[worst]} {before[worst]:.2f} -> {after[worst]:.2f} nats"
    return Finding(Verdict.FAIL, f"{text} ({needed}; most moved: {moved})")


def structure(found: Structure | None, limits: StructurePart | None) -> list[Finding]:
    """Decide whether circuits that are pruned anew are as near as by seed alone, if it decides."""
    if found is None or limits is None:
        return []
    text = (
        f"structure: circuits pruned anew share {found.between:.2f} of their nodes with the "
        f"baseline's, which share {found.within:.2f} among themselves (at least {found.least:.2f} "
        f"{'needed' if limits.gate else 'would be as near'}; by chance {found.chance:.2f})"
    )
    return [decided(holds=found.kept or not limits.gate, sentence=text)]


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
