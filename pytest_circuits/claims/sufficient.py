"""`sufficient`: with everything outside the circuit ablated, the behavior is still there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_circuits.circuit.calibration import calibrated, fit
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.assumptions import Under, conclude_under
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
from pytest_circuits.claims.evidence import Cause, Evidence, Law
from pytest_circuits.claims.findings import (
    against_controls,
    bounded,
    controls_of,
    law_finding,
    not_finite,
    pairs_that_settle,
    rate_finding,
    some,
)
from pytest_circuits.claims.statistics import LOSSES, Floats, softplus
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import SufficientClaim

_SHOWN = 6  # nodes that a sentence names


def _violation(pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    worst = contradicting(margins, member)
    return (
        f"the {worst} {preference(margins[worst][member], pair, member)}, "
        f"the whole model {preference(margins['whole model'][member], pair, member)}"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    alone = [each.runner.margins(bench.sample.pairs, each.circuit) for each in bench.each]
    random = [each.controls_alone for each in bench.each]
    if broken := not_finite(
        "sufficient", law, circuit_alone=np.concatenate(alone), random_circuits=np.stack(random)
    ):
        return broken
    return conclude_under(
        "sufficient",
        [_under(each) for each in bench.each],
        law=law,
        besides=[
            law_finding(
                law,
                margin=bench.margin,
                typical=min(map(median_size, alone)),
                whose="its preference",
            ),
            *shift_findings(bench.spec, alone[0]),
        ],
        remark=calibration_remark(bench.spec) + _silent(bench),
    )


def _silent(bench: Bench) -> str:
    """Which nodes carry the same in both prompts of a pair: of them `contrast` shows nothing."""
    for each in bench.each:
        if each.runner.ablation.kind.from_partner:
            apart = each.runner.apart(each.control_pairs, each.nodes)
            ids = each.nodes.ids()
            silent = [ids[i] for i in np.flatnonzero(apart <= statistics.TINY)]
            text = f"never differ between the prompts of a pair: {some(silent, _SHOWN)}"
            return f" (nothing is shown under contrast of nodes that {text})" if silent else ""
    return ""


def _under(bench: Bench) -> Under:
    """What it finds under the ablation of the bench."""
    protocol, sample = bench.spec.protocol, bench.sample
    limits = limits_of(bench.spec, SufficientClaim)
    alone = bench.runner.margins(sample.pairs, bench.circuit)
    random = bench.controls_alone
    rate, delta = rate_of(bench, "sufficient", lambda bench: bench.circuit, limits.rate)
    scale = 1.0 if bench.spec.calibration is None else bench.spec.calibration.scale
    losses = softplus(scale * alone)
    loss, per_pair = sample.mean(losses, protocol.alpha, LOSSES), losses.mean(axis=1)
    own = _compared_losses(bench, bench.runner.margins(bench.control_pairs, bench.circuit)[None])
    others = _compared_losses(bench, random)  # [K]
    p = statistics.control_p(int((others <= own + EPS).sum()), len(others))
    findings = [
        rate_finding(rate, what=f"the {bench.alone} prefers the answer", alpha=protocol.alpha),
        bounded(
            f"its task loss is {loss.estimate:.3g} nats"
            + " over the whole space" * sample.exhaustive,
            loss,
            limits.max_loss,
            needed=f"at most {limits.max_loss:g} needed",
            show="{:.3g}".format,
            alpha=protocol.alpha,
            exhaustive=sample.exhaustive,
            capped=True,
            called="the task loss",
            advice=""
            if sample.exhaustive
            else pairs_that_settle(per_pair[sample.rows(loss)], limits.max_loss, protocol.alpha),
        ),
        against_controls(p, controls=len(others), what="the circuit's task loss is lower than"),
    ]
    measures = {
        "control_loss": float(np.median(others)),
        "control_p": p,
        "delta_to_baseline": delta,
        "max_loss": limits.max_loss,
        "task_loss": loss.estimate,
        "task_loss_upper": loss.upper,
        **calibration_measures(bench.spec, alone),
    }
    drawn = controls_of("task loss, nats", float(own[0]), others, limit=limits.max_loss)
    return Under(bench.runner.ablation, findings, rate, measures, controls=[drawn])


def _compared_losses(bench: Bench, margins: Floats) -> Floats:
    """Task loss [K] of circuits on the control pairs, from their margins [K, n, 2].

    Where the circuit is calibrated, it and the controls are fitted alike, each to these pairs: what
    a specification says must not be an advantage that random circuits do not have.
    """
    if bench.spec.calibration is not None:
        whole = bench.runner.margins(bench.control_pairs, WHOLE)
        margins = np.stack([calibrated(each, fit(each, whole)) for each in margins])
    losses: Floats = softplus(margins).mean(axis=(1, 2))
    return losses


def _cost(situation: Situation) -> Cost:
    controls = situation.spec.protocol.controls
    shared = {
        Shared.WHOLE: situation.prompts,
        **situation.each(Shared.ALONE, situation.prompts),
        **situation.alone,
        **situation.each(Shared.RANDOM_ALONE, situation.controls, views=controls),
    }
    near = situation.near(runs=1) + situation.under_each(situation.near(runs=1))
    return Cost(shared, near + situation.silent)


def _runs(bench: Bench) -> tuple[Run, ...]:
    alone = (run_of(each.runner, each.circuit, name=each.named(each.alone)) for each in bench.each)
    return (run_of(bench.runner, WHOLE, name="whole model"), *alone)


def _causes(bench: Bench, pair: Pair) -> tuple[Cause, ...]:
    worst = furthest(bench, pair, lambda each: each.circuit)
    return causes_of_difference(worst, pair, np.ones(bench.rest.size, dtype=np.bool_))


def _worst(bench: Bench) -> Ranked:
    whole, *alone = _runs(bench)
    where = f"the {bench.alone} prefers the answer least"
    return least_preferred(where, bench.sample, alone, whole)


SUFFICIENT = Claim(
    "sufficient",
    "with everything outside the circuit ablated, the answer is still preferred",
    _decide,
    _cost,
    law=LawCard(_runs, contradiction, _violation, causes=_causes),
    tier="core",
    worst=_worst,
)
