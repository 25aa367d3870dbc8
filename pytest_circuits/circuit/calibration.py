"""Calibrate a circuit: say how sure its preference is, and move where it tips over.

Gao et al. 2025, appendix A.5: circuits come out badly calibrated, so a scale and a shift of the
final logits are fitted by 16 steps of LBFGS. Between two tokens only a scale and the difference of
two shifts matter: of the preference p, in nats, for the answer of the cue that sorts first,
`scale * (p + shift)` remains.

What the two may do is kept apart. The shift moves p itself, in the circuit's own nats, and gives to
one prompt of a contrast pair what it takes from the other: it tells no pair apart. The scale says
how sure a preference counts as in the task loss alone. It is positive, so that it never says which
it is, and no rate and no law heeds it: a tiny preference stays tiny beside a law's margin.

On prompts that a circuit gets all right the loss against the labels has no minimum, and a fit would
call the circuit as sure as the bound allows. So the fit is to the whole model's preferences: the
circuit is made as sure as the model that it explains.
"""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.encoding import Floats
from pytest_circuits.circuit.view import Shift
from pytest_circuits.spec.template import answers
from pytest_circuits.spec.types import Calibration, Spec

STEPS = 16  # of LBFGS
DIGITS = 4  # of a scale or a shift
LARGEST_SCALE, LARGEST_SHIFT = 10.0, 20.0  # as in a specification
_SIDES = np.array([1.0, -1.0])  # a pair's first member has the answer of the cue that sorts first


def shift_of(spec: Spec) -> Shift | None:
    """What a specification adds to a logit of its circuit alone."""
    if spec.calibration is None:
        return None
    first, _ = answers(spec.behavior)
    return Shift(first, spec.calibration.shift)


def calibrated(margins: Floats, calibration: Calibration | None) -> Floats:
    """Margins [..., 2] of both members of pairs as the task loss takes them."""
    if calibration is None:
        return margins
    return calibration.scale * (margins + calibration.shift * _SIDES)


def fit(alone: Floats, whole: Floats) -> Calibration | None:
    """The calibration that brings a circuit closest to the whole model, from margins [n, 2].

    Closest: by the cross-entropy of the preferences, in nats. None where no scale and shift within
    their bounds do: the circuit's preferences are the wrong way round, do not depend on the cue, or
    are not numbers.
    """
    from scipy.optimize import minimize  # noqa: PLC0415  (loaded where something is calibrated)

    if not (np.isfinite(alone).all() and np.isfinite(whole).all()):
        return None
    wanted = 1 / (1 + np.exp(-np.clip(whole, -500, 500)))

    def loss(x: Floats) -> tuple[float, Floats]:
        margins = x[0] * alone + x[1] * _SIDES
        slope = 1 / (1 + np.exp(-np.clip(margins, -500, 500))) - wanted
        value = np.logaddexp(0, margins) - wanted * margins
        return float(value.mean()), np.array([(slope * alone).mean(), (slope * _SIDES).mean()])

    bounds = [(0, LARGEST_SCALE), (None, None)]
    start = np.array([1.0, 0.0])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    scale, offset = (float(x) for x in found.x)
    if scale <= 0 or abs(offset) > LARGEST_SHIFT * scale:
        return None
    return Calibration(scale=_rounded(scale), shift=_rounded(offset / scale))


def _rounded(x: float) -> float:
    return float(f"{x:.{DIGITS}g}")
