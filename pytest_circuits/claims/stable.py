"""`stable`: against the baseline, the same circuit does the same job with the same signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.baseline import (
    RECORD,
    Live,
    margins_of,
    recorded_pairs,
    signals_of,
)
from pytest_circuits.claims.bench import EPS
from pytest_circuits.claims.calibration import (
    calibration_measures,
    calibration_remark,
    shift_findings,
)
from pytest_circuits.claims.claim import Claim, Run, contradiction, median_size, preference, run_of
from pytest_circuits.claims.evidence import Evidence, Rate, Verdict
from pytest_circuits.claims.findings import Finding, conclude, confidence, law_finding, not_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.evidence import Law
    from pytest_circuits.claims.statistics import Floats
    from pytest_circuits.prompts import Pair

LINEAGE = 0.5  # below this mean correlation, node numbers mean different things in the two models


def _runs(bench: Bench) -> tuple[Run, ...]:
    baseline = bench.baseline
    if baseline is None:
        return ()
    if isinstance(baseline, Live):
        before = run_of(baseline.runner, bench.circuit, name="baseline's circuit")
    else:
        recorded = baseline
        before = Run("baseline's circuit", lambda p: margins_of(recorded, bench, p), None)
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
    if bench.baseline is None:
        return ()
    return bench.sample.pairs if isinstance(bench.baseline, Live) else recorded_pairs(bench)


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, protocol, baseline = bench.spec.claims.stable, bench.spec.protocol, bench.baseline
    assert limits is not None  # noqa: S101  (a claim is decided only where it is declared)
    if baseline is None:
        sentence = (
            f"no baseline is recorded: run `{RECORD}=new`, review the file that it writes beside "
            "the specification, and commit it"
        )
        return conclude("stable", [Finding(Verdict.FAIL, sentence)])
    if not bench.nodes.count:
        return conclude("stable", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    pairs = _scanned(bench)
    before = margins_of(baseline, bench, pairs)
    after = bench.runner.margins(pairs, bench.circuit)
    signals_before = signals_of(baseline, bench.signal_pairs, bench.nodes)
    signals_after = bench.runner.signals(bench.signal_pairs, bench.nodes)
    if broken := not_finite("stable", law, baseline=before, circuit_alone=after):
        return broken
    if broken := not_finite(
        "stable", law, signals_of_the_baseline=signals_before, signals=signals_after
    ):
        return broken
    sample = bench.sample.shortened(len(pairs))
    interval = sample.drop(before > EPS, after > EPS, protocol.alpha)
    rate = interval.against(limits.max_drop, n=sample.n, exhaustive=sample.exhaustive)
    alike = np.array(
        [statistics.correlation(b, a) for b, a in zip(signals_before, signals_after, strict=True)]
    )
    findings = [
        _drop_finding(rate, protocol.alpha),
        _signal_finding(alike, bench.nodes.ids(), limits.min_correlation),
        law_finding(
            law,
            margin=protocol.margin,
            typical=median_size(before),
            whose="the preference of the baseline's circuit",
        ),
        *shift_findings(bench.spec, before),
    ]
    measures = {
        "correlation": float(alike.mean()),
        "correlation_least": float(alike.min()),
        "delta_to_baseline": -interval.estimate,
        "min_correlation": limits.min_correlation,
        "rate_before": sample.rate(before > EPS, protocol.alpha).estimate,
        **calibration_measures(bench.spec),
    }
    return conclude(
        "stable",
        findings,
        rate=rate,
        law=law,
        measures=measures,
        remark=calibration_remark(bench.spec),
    )


def _drop_finding(rate: Rate, alpha: float) -> Finding:
    interval = statistics.Interval(rate.estimate, rate.lower, rate.upper)
    verdict = statistics.at_most(interval, rate.threshold)
    seen = f"the circuit's rate drops by {_points(rate.estimate)} on {rate.n} prompts"
    needed = f"at most {_points(rate.threshold)} allowed"
    if rate.exhaustive:
        return Finding(verdict, f"{seen}, the whole space ({needed})")
    sure = f"with {confidence(alpha)}"
    text = {
        Verdict.PASS: f"{seen} (at most {_points(rate.upper)} {sure}; {needed})",
        Verdict.FAIL: f"{seen} (at least {_points(rate.lower)} {sure}; {needed})",
        Verdict.INCONCLUSIVE: (
            f"{seen}, truly between {_points(rate.lower)} and {_points(rate.upper)}: undecided "
            f"({needed}; raise protocol.pairs)"
        ),
    }
    return Finding(verdict, text[verdict])


def _signal_finding(alike: Floats, ids: Sequence[str], least: float) -> Finding:
    mean = float(alike.mean())
    seen = f"its nodes' signals correlate with the baseline's by {mean:.3f} on average"
    if mean < LINEAGE:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"{seen}: the models are not comparable node by node (no shared lineage?)",
        )
    if mean < least:
        worst = ids[int(alike.argmin())]
        return Finding(
            Verdict.FAIL, f"{seen} (at least {least:g} needed; least: {worst}, {alike.min():.3f})"
        )
    return Finding(Verdict.PASS, f"{seen} (at least {least:g} needed)")


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


STABLE = Claim("stable", _runs, _excess, _violation, _decide, _searchable, _scanned)
