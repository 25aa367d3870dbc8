"""What claims ask and say of a calibrated circuit, so that nobody takes it for a plain one."""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.calibration import calibrated
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import Finding
from pytest_circuits.claims.statistics import Floats, softplus
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.template import answers
from pytest_circuits.spec.types import Calibration, Spec


def calibration_measures(spec: Spec, margins: Floats | None = None) -> dict[str, float]:
    """The calibration as measures of a claim; none for a plain circuit.

    margins: of the circuit alone, [n, 2], for the task loss that it would have without.
    """
    found = spec.calibration
    if found is None:
        return {}
    measures = {"calibration_scale": found.scale, "calibration_shift": found.shift}
    if margins is not None:
        back = Calibration(scale=1.0, shift=-found.shift)
        measures["task_loss_uncalibrated"] = float(softplus(calibrated(margins, back)).mean())
    return measures


def shift_findings(spec: Spec, margins: Floats) -> list[Finding]:
    """Fail a circuit whose shift is larger than what it tells apart itself; margins: [n, 2].

    Without the shift such a circuit gives the same answer to both prompts of a pair. Half the sum
    of their margins is what it tells apart, whatever the shift.
    """
    if spec.calibration is None:
        return []
    apart = float(np.median(margins.mean(axis=1)))
    size = abs(spec.calibration.shift)
    if size <= apart:
        return []
    sentence = (
        f"the calibration shifts the circuit by {size:g} nats, and the circuit itself tells the "
        f"prompts of a median pair apart by {apart:.3g}: the shift decides, not the circuit"
    )
    return [Finding(Verdict.FAIL, sentence, "the shift decides, not the circuit")]


def calibration_remark(spec: Spec) -> str:
    """The calibration in words, as the end of a reason; empty for a plain circuit."""
    if spec.calibration is None:
        return ""
    first, _ = answers(spec.behavior)
    found = spec.calibration
    return (
        f" (the circuit is calibrated: {found.shift:+g} nats for {quoted(first)}, and the task "
        f"loss takes its preferences times {found.scale:g})"
    )
