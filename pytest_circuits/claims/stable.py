"""`stable`: against the baseline, the same circuit does the same job with the same signals.

Its parts, in the order in which they count: `transfer` (the circuit as it was written down is still
enough and still needed), `identity` (its nodes carry the same signals and its heads look at the
same tokens), `effects` (what each node adds to the preference is ranked as before). All of them
take for granted that a node's number means the same in both models; where it does not, for lack of
a shared beginning, the answer is "not comparable".
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.baseline import RECORD, Live, observed, sample_of
from pytest_circuits.claims.bench import EPS
from pytest_circuits.claims.calibration import (
    calibration_measures,
    calibration_remark,
    shift_findings,
)
from pytest_circuits.claims.claim import Claim, Run, contradiction, median_size, preference, run_of
from pytest_circuits.claims.comparison import LINEAGE, compare
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.findings import Finding, conclude, confidence, law_finding, not_finite
from pytest_circuits.claims.structure import structure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.comparison import Comparison
    from pytest_circuits.claims.evidence import Law
    from pytest_circuits.claims.observation import Observation
    from pytest_circuits.claims.statistics import Floats, Interval
    from pytest_circuits.claims.structure import Structure
    from pytest_circuits.prompts import Pair
    from pytest_circuits.spec import EffectsPart, IdentityPart, StructurePart


def _runs(bench: Bench) -> tuple[Run, ...]:
    baseline = bench.baseline
    if baseline is None:
        return ()
    if isinstance(baseline, Live):
        view = baseline.place_of(bench).circuit
        before = run_of(baseline.runner, view, name="baseline's circuit")
    else:
        known = dict(zip(sample_of(bench).pairs, baseline.observation.alone, strict=True))
        before = Run("baseline's circuit", lambda pairs: np.stack([known[p] for p in pairs]), None)
    return (before, run_of(bench.runner, bench.circuit, name=bench.alone))


def _excess(margins: tuple[Floats, ...]) -> Floats:
    before, after = margins
    return contradiction(before, after, tie=EPS)


def _violation(pair: Pair, member: int, margins: tuple[Floats, ...]) -> str:
    before, after = margins
    return (
        f"the circuit alone {preference(after[member], pair, member)}, "
        f"in the baseline it {preference(before[member], pair, member)}"
    )


def _searchable(bench: Bench) -> bool:
    """A recorded baseline answers for its own prompts alone, and those are all looked at."""
    return isinstance(bench.baseline, Live)


def _scanned(bench: Bench) -> Sequence[Pair]:
    return () if bench.baseline is None else sample_of(bench).pairs


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, alpha = bench.spec.claims.stable, bench.spec.protocol.alpha
    assert limits is not None  # noqa: S101  (a claim is decided only where it is declared)
    if bench.baseline is None:
        sentence = (
            f"no baseline is recorded: run `{RECORD}=new`, review the file that it writes beside "
            "the specification, and commit it"
        )
        return conclude("stable", [Finding(Verdict.FAIL, sentence)])
    if not bench.nodes.count:
        return conclude("stable", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    before, after = observed(bench)
    if broken := not_finite(
        "stable",
        law,
        baseline=before.alone,
        circuit_alone=after.alone,
        without_the_circuit=after.without,
        signals_of_the_baseline=before.signals,
        signals=after.signals,
        effects=after.effects[:, None],
    ):
        return broken
    sample = sample_of(bench)
    seen = compare(before, after, sample, alpha, matched=bench.baseline.matched)
    drop = seen.drop.against(limits.max_drop, n=sample.n, exhaustive=sample.exhaustive)
    structure = _structure(bench, before, after)
    measures = {
        "attention_apart": float(seen.apart.max(initial=0)),
        "delta_to_baseline": -seen.drop.estimate,
        "identity": seen.identity,
        "identity_least": float(seen.alike.min()),
        "rate_before": sample.rate(before.alone > EPS, alpha).estimate,
        "rise_without": seen.rise.estimate,
        **({} if seen.effects is None else {"effects": seen.effects}),
        **({} if seen.lineage is None else {"lineage": seen.lineage}),
        **_structure_measures(structure),
        **calibration_measures(bench.spec),
    }
    if not seen.comparable:
        return conclude("stable", [_stranger(seen)], rate=drop, law=law, measures=measures)
    findings = [
        _transfer("the circuit's rate", ("drops", "rises"), seen.drop, limits.max_drop, bench),
        _transfer("the rate without it", ("rises", "drops"), seen.rise, limits.max_rise, bench),
        *_identity(bench, seen, limits.identity),
        _effects(bench, before.effects, after.effects, seen, limits.effects),
        *_structure_findings(structure, limits.structure),
        law_finding(
            law,
            margin=bench.spec.protocol.margin,
            typical=median_size(before.alone),
            whose="the preference of the baseline's circuit",
        ),
        *shift_findings(bench.spec, before.alone),
    ]
    return conclude(
        "stable",
        findings,
        rate=drop,
        law=law,
        measures=measures,
        remark=calibration_remark(bench.spec),
    )


def _stranger(seen: Comparison) -> Finding:
    return Finding(
        Verdict.INCONCLUSIVE,
        "not comparable: channels all over the model correlate with those of the baseline by "
        f"{seen.lineage:.2f} on average (at least {LINEAGE:g} needed), so that node numbers mean "
        "other nodes (another seed? permuted channels?); `--circuits-match` looks for the circuit "
        "anew",
    )


def _transfer(
    what: str, verbs: tuple[str, str], change: Interval, most: float, bench: Bench
) -> Finding:
    """Decide a paired difference of rates that must not exceed a margin."""
    sample, alpha = sample_of(bench), bench.spec.protocol.alpha
    verdict = statistics.at_most(change, most)
    verb, size = verbs[change.estimate < 0], _points(abs(change.estimate))
    seen = f"transfer: {what} {verb} by {size} on {sample.n} prompts"
    needed = f"at most {_points(most)} allowed"
    if sample.exhaustive:
        return Finding(verdict, f"{seen}, the whole space ({needed})")
    sure = f"with {confidence(alpha)}"
    text = {
        Verdict.PASS: f"{seen} (at most {_points(change.upper)} {sure}; {needed})",
        Verdict.FAIL: f"{seen} (at least {_points(change.lower)} {sure}; {needed})",
        Verdict.INCONCLUSIVE: (
            f"{seen}, truly between {_points(change.lower)} and {_points(change.upper)}: "
            f"undecided ({needed}; raise protocol.pairs)"
        ),
    }
    return Finding(verdict, text[verdict])


def _identity(bench: Bench, seen: Comparison, limits: IdentityPart) -> list[Finding]:
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
    findings = [Finding(Verdict.PASS if held else Verdict.FAIL, f"{text})")]
    if len(seen.apart):
        worst = int(seen.apart.argmax())
        layer, head = bench.heads[worst]
        moved = float(seen.apart[worst])
        verdict = Verdict.PASS if moved <= limits.max_attention else Verdict.FAIL
        findings.append(
            Finding(
                verdict,
                f"identity: attention of its heads moves by at most {moved:.2f} (head {head} of "
                f"layer {layer}; at most {limits.max_attention:g} allowed)",
            )
        )
    return findings


def _effects(
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


def _structure(bench: Bench, before: Observation, after: Observation) -> Structure | None:
    """None where it is not asked for, or where nodes have other addresses."""
    if not before.repruned or (bench.baseline and bench.baseline.matched):
        return None
    return structure_of(before.repruned, after.repruned, bench.model.hook_points)


def _structure_findings(structure: Structure | None, limits: StructurePart | None) -> list[Finding]:
    """Decide whether circuits that are pruned anew are as near as by seed alone, if it decides."""
    if structure is None or limits is None:
        return []
    verdict = Verdict.PASS if structure.kept or not limits.gate else Verdict.FAIL
    return [
        Finding(
            verdict,
            f"structure: circuits pruned anew share {structure.between:.2f} of their nodes with "
            f"the baseline's, which share {structure.within:.2f} among themselves (at least "
            f"{structure.least:.2f} {'needed' if limits.gate else 'would be as near'}; by chance "
            f"{structure.chance:.2f})",
        )
    ]


def _structure_measures(structure: Structure | None) -> dict[str, float | None]:
    if structure is None:
        return {}
    found = asdict(structure)
    return {f"structure_{name}": value for name, value in found.items()}


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


STABLE = Claim("stable", _runs, _excess, _violation, _decide, _searchable, _scanned)
