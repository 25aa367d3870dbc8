"""`faithful`: the circuit does the job as the whole model does it, and not just somehow.

Pruning can find nodes that do a task alone and are not what the model does: through ablations that
cancel, norms that grow as the rest shrinks, attention that is bypassed, nodes that change their
role (J. Drori 2026, "Weight-Sparse Circuits May Be Interpretable Yet Unfaithful").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pytest_circuits.circuit.divided import nodes_of
from pytest_circuits.circuit.inside import DRAWS, SHARES
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.assumptions import Under, conclude_under
from pytest_circuits.claims.bench import CONTROL_PAIRS, EPS, Bench
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    Ranked,
    Run,
    contradicting,
    contradiction,
    furthest,
    least_preferred,
    limits_of,
    median_size,
    preference,
    rate_of,
    run_of,
)
from pytest_circuits.claims.causes import causes_of_difference
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Cause, Curve, Evidence, Law, Verdict, rounded
from pytest_circuits.claims.faithful.beside import (
    attention_distance,
    beside_findings,
    gaps_beside,
    greatest,
    unseen,
)
from pytest_circuits.claims.faithful.formal import distance_p, equivalence, independence
from pytest_circuits.claims.faithful.internals import look_inside
from pytest_circuits.claims.findings import (
    Finding,
    conclude,
    gap_finding,
    law_finding,
    not_finite,
    rate_finding,
)
from pytest_circuits.claims.parts_of_rest import (
    FRACTIONS,
    GAP_PAIRS,
    PER_FRACTION,
    SEARCHED,
    searched_few,
)
from pytest_circuits.claims.statistics import GAPS, Floats, Interval, softplus
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import FaithfulClaim

FORMAL_PAIRS = 100  # at most: the test of independence costs their square


def _violation(pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    worst = contradicting(margins, member)
    return (
        f"with the circuit kept and the {worst}, the model "
        f"{preference(margins[worst][member], pair, member)}, whole it "
        f"{preference(margins['whole model'][member], pair, member)}"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    if not bench.nodes.count:
        return conclude("faithful", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    worst = [each.runner.margins(bench.sample.pairs, _worst(each)) for each in bench.each]
    inside = look_inside(bench.constant)
    if broken := not_finite(
        "faithful",
        law,
        whole_model=bench.runner.margins(bench.sample.pairs, WHOLE),
        worst_part_ablated=np.concatenate(worst),
        parts_ablated=np.concatenate([each.parts.random.reshape(-1, 2) for each in bench.each]),
        frozen_norms=inside.frozen[:, None],
        nodes_interchanged=inside.interchanged,
        attention=inside.attention,
    ):
        return broken
    limits = limits_of(bench.spec, FaithfulClaim)
    first, *others = (_under(each) for each in bench.each)
    inner = gaps_beside(bench, inside)
    measures = {
        **_gap_measures({name: x for name, x in inner.items() if name not in unseen(bench)}),
        **attention_distance(bench, inside),
        "correlation": inside.correlation,
        "correlation_least": float(inside.correlations.min()),
        "disambiguated": float(len(bench.spec.disambiguate)),
        **_formal(bench),
    }
    return conclude_under(
        "faithful",
        [replace(first, measures={**first.measures, **measures}), *others],
        law=law,
        besides=[
            *beside_findings(bench, inside, limits),
            law_finding(
                law,
                margin=bench.margin,
                typical=min(map(median_size, worst)),
                whose="that preference",
            ),
        ],
    )


def _worst(bench: Bench) -> View:
    return bench.parts.without_worst


def _under(bench: Bench) -> Under:
    """What ablating parts of the rest does, under the ablation of the bench."""
    alpha, sample, parts = bench.spec.protocol.alpha, bench.sample, bench.parts
    limits = limits_of(bench.spec, FaithfulClaim)
    rate, delta = rate_of(bench, "faithful", _worst, limits.rate)
    own = softplus(bench.runner.margins(bench.gap_pairs, WHOLE)).mean(axis=1)  # [n]
    random = softplus(parts.random).mean(axis=(1, 3))  # [fractions, n]
    whole, worst = (bench.runner.margins(sample.pairs, v) for v in (WHOLE, _worst(bench)))
    by_fraction = [bench.gap_mean(x - own, GAPS) for x in random]
    gaps = {
        "worst": sample.mean(softplus(worst) - softplus(whole), alpha, GAPS),
        "parts": greatest(by_fraction),
    }
    least, last = FRACTIONS[0], FRACTIONS[-1]
    drawn = f"with a random part of the rest ablated, {least:.0%} to {last:.0%} of it"
    findings = [
        rate_finding(rate, what=f"{parts.named}, the answer is preferred", alpha=alpha),
        gap_finding(
            gaps["worst"],
            limits.max_gap,
            what=parts.named,
            alpha=alpha,
            exhaustive=sample.exhaustive,
        ),
        gap_finding(
            gaps["parts"], limits.max_gap, what=drawn, alpha=alpha, exhaustive=bench.gaps_see_all
        ),
    ]
    measures = {
        **_gap_measures(gaps),
        **_any_size(bench),
        "delta_to_baseline": delta,
        "worst_part": float(parts.worst.sum()),
    }
    points = tuple((f, rounded(g.estimate)) for f, g in zip(FRACTIONS, by_fraction, strict=True))
    curve = Curve("task loss above the whole model's, nats", points, limits.max_gap)
    return Under(bench.runner.ablation, findings, rate, measures, curves=[curve])


def _any_size(bench: Bench) -> dict[str, float]:
    """What a part of any size does where it does not decide, in nats, split in two.

    Separation is what still tells the prompts of a pair apart; bias is what one member wins and the
    other loses, by the same preference for one token.
    """
    if bench.parts.any_size:
        return {}
    view = bench.rest.without(bench.parts.worst_any)
    whole, worst = (bench.runner.margins(bench.gap_pairs, v) for v in (WHOLE, view))
    return {
        "gap_worst_any": float((softplus(worst) - softplus(whole)).mean()),
        "separation_worst_any": float(worst.mean()),
        "bias_worst_any": float((worst[:, 0] - worst[:, 1]).mean() / 2),
    }


def _gap_measures(gaps: Mapping[str, Interval]) -> dict[str, float | None]:
    return {
        **{f"gap_{name}": gap.estimate for name, gap in gaps.items()},
        **{f"gap_{name}_upper": gap.upper for name, gap in gaps.items()},
    }


def _formal(bench: Bench) -> dict[str, float | None]:
    """The tests of Shi et al. 2024, on one prompt of each of a number of pairs.

    For independence a score is that of one fixed token: a constant preference then tells nothing.
    """
    pairs = bench.sample.few(FORMAL_PAIRS, seed=bench.seed)
    member = bench.random(stream=5).integers(2, size=len(pairs))
    sides, rows = np.where(member == 0, 1.0, -1.0), np.arange(len(pairs))
    views = (WHOLE, bench.circuit, bench.without)
    whole, alone, without = (bench.runner.margins(pairs, view)[rows, member] for view in views)
    wins, p = equivalence(whole, alone, tie=EPS)
    few = [bench.runner.margins(bench.control_pairs, view) for view in views]
    return {
        "formal_equivalence_p": p,
        "formal_equivalence_wins": wins,
        "formal_independence_p": independence(
            whole * sides, without * sides, tie=EPS, seed=bench.seed
        ),
        "formal_necessity_p": distance_p(few[2], bench.controls_without, few[0], far=True),
        "formal_sufficiency_p": distance_p(few[1], bench.controls_alone, few[0], far=False),
    }


def _runs(bench: Bench) -> tuple[Run, ...]:
    worst = (
        run_of(each.runner, _worst(each), name=each.named("worst part of the rest ablated"))
        for each in bench.each
    )
    return (run_of(bench.runner, WHOLE, name="whole model"), *worst)


def _causes(bench: Bench, pair: Pair) -> tuple[Cause, ...]:
    worst = furthest(bench, pair, _worst)
    return causes_of_difference(worst, pair, worst.parts.worst)


def _cost(situation: Situation) -> Cost | None:
    if not (nodes := nodes_of(situation.spec).count):  # they are still to be found
        return None
    formal, spec = 2 * min(situation.pairs, FORMAL_PAIRS + CONTROL_PAIRS), situation.spec
    controls = spec.protocol.controls
    shared = {
        **situation.alone,
        Shared.WHOLE: situation.prompts,
        **situation.first(Shared.ALONE, formal),
        **situation.first(Shared.WITHOUT, formal),
        **situation.first(Shared.RANDOM_ALONE, situation.controls, views=controls),
        **situation.first(Shared.WITHOUT_RANDOM, situation.controls, views=controls),
    }
    agreed = 2 * len(spec.disambiguate)
    effects = 2 * CONTROL_PAIRS * nodes
    gaps = 2 * GAP_PAIRS * situation.groups
    beside = gaps * (3 + len(SHARES) * DRAWS)  # beside the whole model, and it
    views = len(FRACTIONS) * PER_FRACTION
    random = situation.under_each(gaps * views, views=views)
    few = limits_of(spec, FaithfulClaim).few
    searched = sum(
        SEARCHED + (not ablation.kind.from_partner) * (searched_few(few) + gaps)
        for ablation in spec.ablations
    )
    worst = situation.under_each(situation.prompts + situation.near(runs=1))
    return Cost(
        shared,
        situation.near(runs=1) + worst + random + beside + effects + searched + agreed,
    )


def _least(bench: Bench) -> Ranked:
    whole, *ablated = _runs(bench)
    where = "the answer is preferred least, with the worst part of the rest ablated"
    return least_preferred(where, bench.sample, ablated, whole)


FAITHFUL = Claim(
    "faithful",
    "the circuit does it as the whole model does, whatever part of the rest is ablated",
    _decide,
    _cost,
    law=LawCard(_runs, contradiction, _violation, causes=_causes),
    tier="beyond",
    worst=_least,
)
