"""`stable`: against the baseline, the same circuit does the same job with the same signals.

Its parts, in the order in which they count: `transfer` (the circuit as it was written down is still
enough and still needed, and has its share of the whole model's preference), `identity` (its nodes
carry the same signals and its heads look at the same tokens), `effects` (what each node adds to the
preference is ranked as before, and is the same share of it). All of them
take for granted that a node's number means the same in both models, and that what an ablation puts
in its place was measured on the same text; where one of it does not hold, the answer is "not
comparable".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from pytest_circuits.circuit.attention import shows_attention
from pytest_circuits.circuit.divided import nodes_of
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.calibration import (
    calibration_measures,
    calibration_remark,
    shift_findings,
)
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    Ranked,
    Run,
    contradiction,
    limits_of,
    median_size,
    preference,
    run_of,
)
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law, Verdict
from pytest_circuits.claims.findings import Finding, conclude, law_finding, not_finite
from pytest_circuits.claims.stable import parts
from pytest_circuits.claims.stable.baseline import RECORD, Live
from pytest_circuits.claims.stable.comparison import Comparison, Structure, compare, structure_of
from pytest_circuits.claims.stable.observation import (
    FEW_PAIRS,
    PROBE_PAIRS,
    SIGNAL_PAIRS,
    Observation,
)
from pytest_circuits.claims.stable.observed import observed, sample_of
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.model.protocol import widths_of
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import StableClaim

TOLD_APART = "the share of pairs that are told apart without it"


def _runs(bench: Bench) -> tuple[Run, ...]:
    baseline = bench.baseline
    if baseline is None:
        return ()
    if isinstance(baseline, Live):
        view = (baseline.place or bench.place).circuit
        before = run_of(baseline.runner, view, name="baseline's circuit")
    else:
        known = _by_pair(sample_of(bench).pairs, baseline.observation.alone)
        before = Run("baseline's circuit", lambda pairs: np.stack([known[p] for p in pairs]), None)
    return (before, run_of(bench.runner, bench.circuit, name=bench.alone))


def _by_pair(pairs: Sequence[Pair], margins: Floats) -> dict[Pair, Floats]:
    """Margins [n, 2] by pair, also turned around, as it is when its second prompt is shown."""
    found = dict(zip(pairs, margins, strict=True))
    return {Pair(pair.second, pair.first): row[::-1] for pair, row in found.items()} | found


def _violation(pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    before, after = margins.values()
    return (
        f"the circuit alone {preference(after[member], pair, member)}, "
        f"in the baseline it {preference(before[member], pair, member)}"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    limits = limits_of(bench.spec, StableClaim)
    if bench.baseline is None:
        sentence = (
            f"no baseline is recorded: run `{RECORD}=new`, review the file that it writes beside "
            "the specification, and commit it"
        )
        return conclude("stable", [Finding(Verdict.FAIL, sentence, "no baseline is recorded")])
    if not bench.nodes.count:
        return conclude("stable", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    before, after = observed(bench)
    if broken := not_finite(
        "stable",
        law,
        whole_in_the_baseline=before.whole,
        whole=after.whole,
        baseline=before.alone,
        circuit_alone=after.alone,
        without_the_circuit=after.without,
        signals_of_the_baseline=before.signals,
        signals=after.signals,
        effects=after.effects[:, None],
    ):
        return broken
    sample = sample_of(bench)
    seen = compare(
        before,
        after,
        sample,
        alpha=bench.spec.protocol.alpha,
        margin=bench.margin,
        same_probes=not bench.baseline.is_elsewhere,
    )
    drop = sample.against(seen.drop, limits.max_drop, at_most=True)
    structure = None
    if before.repruned and not bench.baseline.is_elsewhere:
        structure = structure_of(before.repruned, after.repruned, widths_of(bench.model))
    measures = _measures(bench, before, seen, structure)
    same_text = bench.baseline.reference_text == bench.runner.reference.text_digest
    if not (seen.comparable and same_text):
        other = parts.other_text() if seen.comparable else parts.stranger(seen)
        return conclude("stable", [other], rate=drop, law=law, measures=measures)
    findings = [
        parts.transfer("the circuit's rate", ("drops", "rises"), seen.drop, limits.max_drop, bench),
        parts.transfer(TOLD_APART, ("rises", "drops"), seen.rise, limits.max_rise, bench),
        parts.made_up(seen, limits.max_factor),
        *parts.identity(bench, seen, limits.identity),
        *parts.effects(bench, seen, limits.effects),
        *parts.structure(structure, limits.structure),
        law_finding(
            law,
            margin=bench.margin,
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
        remark=calibration_remark(bench.spec) + _same_model(bench),
    )


def _same_model(bench: Bench) -> str:
    """Where the candidate is what it is compared with, agreement says nothing about an update."""
    baseline = bench.baseline
    if baseline is None or baseline.model.digest != bench.model.digest:
        return ""
    if isinstance(baseline, Live):
        return "; the candidate was compared with itself"
    return "; the baseline was recorded from this very model"


def _measures(
    bench: Bench, before: Observation, seen: Comparison, structure: Structure | None
) -> dict[str, float | None]:
    """The numbers of all parts; those that there are not for this circuit are left out."""
    rate = sample_of(bench).rate(before.alone > EPS, bench.spec.protocol.alpha)
    sees = shows_attention(bench.model)
    return {
        **({"attention_apart": float(seen.apart.max(initial=0))} if sees else {}),
        "delta_to_baseline": -seen.drop.estimate,
        "effects_change": float(seen.moved.max()),
        "identity": seen.identity,
        "identity_each": seen.each,
        "identity_least": float(seen.alike.min()),
        "rate_before": rate.estimate,
        "preference": seen.whole[1],
        "preference_alone": seen.alone[1],
        "preference_alone_before": seen.alone[0],
        "preference_before": seen.whole[0],
        "rise_without": seen.rise.estimate,
        **({} if seen.effects is None else {"effects": seen.effects}),
        **({} if seen.lineage is None else {"lineage": seen.lineage}),
        **({f"structure_{k}": v for k, v in asdict(structure).items()} if structure else {}),
        **calibration_measures(bench.spec),
    }


def _cost(situation: Situation) -> Cost | None:
    ablated = nodes_of(situation.spec).count  # one node after the other
    if not ablated:  # they are still to be found
        return None
    own = 2 * (SIGNAL_PAIRS + PROBE_PAIRS + FEW_PAIRS * (ablated + 1))
    without = situation.first(Shared.WITHOUT, situation.prompts)
    return Cost({**situation.alone, **without, Shared.WHOLE: situation.prompts}, own)


def _worst(bench: Bench) -> Ranked | None:
    if bench.baseline is None:
        return None
    sample, runs = sample_of(bench), _runs(bench)
    before, after = (run.margins(sample.pairs) for run in runs)
    where = "the answer is preferred in the baseline, and here least"
    return Ranked(where, sample, np.minimum(before, -after), runs)


STABLE = Claim(
    "stable",
    "the circuit is not worse than in the baseline, and its nodes do the same",
    _decide,
    _cost,
    law=LawCard(
        _runs,
        contradiction,
        _violation,
        # A recorded baseline answers for its own prompts alone, and those are all looked at.
        searchable=lambda bench: isinstance(bench.baseline, Live),
        scanned=lambda bench: () if bench.baseline is None else sample_of(bench).pairs,
    ),
    tier="core",
    at_most=True,
    worst=_worst,
)
