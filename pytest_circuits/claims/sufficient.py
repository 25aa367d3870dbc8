"""`sufficient`: with everything outside the circuit ablated, the behavior is still there."""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.calibration import calibrated, fit
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.calibration import (
    calibration_measures,
    calibration_remark,
    shift_findings,
)
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    contradiction,
    limits_of,
    median_size,
    preference,
    rate_of,
    runs_of,
)
from pytest_circuits.claims.causes import causes_of_difference
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law
from pytest_circuits.claims.findings import (
    against_controls,
    bounded,
    conclude,
    law_finding,
    not_finite,
    pairs_that_settle,
    rate_finding,
)
from pytest_circuits.claims.statistics import LOSSES, Floats, softplus
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import SufficientClaim


def _violation(pair: Pair, member: int, margins: tuple[Floats, ...]) -> str:
    whole, alone = margins
    return (
        f"the circuit alone {preference(alone[member], pair, member)}, "
        f"the whole model {preference(whole[member], pair, member)}"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    protocol, sample = bench.spec.protocol, bench.sample
    limits = limits_of(bench.spec, SufficientClaim)
    alone = bench.runner.margins(sample.pairs, bench.circuit)
    random = bench.controls_alone
    if broken := not_finite("sufficient", law, circuit_alone=alone, random_circuits=random):
        return broken
    rate, delta = rate_of(bench, "sufficient", lambda bench: bench.circuit, limits.rate)
    scale = 1.0 if bench.spec.calibration is None else bench.spec.calibration.scale
    losses = softplus(scale * alone)
    loss = sample.mean(losses, protocol.alpha, LOSSES)
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
            advice=""
            if sample.exhaustive
            else pairs_that_settle(losses.mean(axis=1), limits.max_loss, protocol.alpha),
        ),
        against_controls(p, controls=len(others), what="the circuit's task loss is lower than"),
        law_finding(
            law, margin=protocol.margin, typical=median_size(alone), whose="its preference"
        ),
        *shift_findings(bench.spec, alone),
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
    return conclude(
        "sufficient",
        findings,
        rate=rate,
        law=law,
        measures=measures,
        remark=calibration_remark(bench.spec),
    )


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
    whole, controls = {Shared.WHOLE: situation.prompts}, {Shared.RANDOM_ALONE: situation.controls}
    return Cost(whole | situation.alone | controls, situation.near(runs=2))


SUFFICIENT = Claim(
    "sufficient",
    "with everything outside the circuit ablated, the answer is still preferred",
    _decide,
    _cost,
    law=LawCard(
        lambda bench: runs_of(bench, {"whole model": WHOLE, bench.alone: bench.circuit}),
        contradiction,
        _violation,
        causes=lambda bench, pair: causes_of_difference(
            bench, pair, np.ones(bench.rest.size, dtype=np.bool_)
        ),
    ),
    tier="core",
)
