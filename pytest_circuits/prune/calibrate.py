"""Calibrate a circuit that was found, and hold it against the bar of a plain search.

A search for circuits that are to be calibrated asks less of their loss, because the calibration is
to sharpen what they prefer; which they prefer, and by how much, is asked of the plain circuit all
the same. So the calibration is fitted once, at the end, to prompts that trained the masks, and the
evaluation prompts decide about the circuit with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pytest_circuits.circuit.calibration import calibrated, fit
from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.margin import margin_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prune.plan import PrunePlan
from pytest_circuits.prune.pool import split
from pytest_circuits.prune.quality import Quality
from pytest_circuits.prune.stages import Case, stage
from pytest_circuits.prune.subject import NotFoundError, bar_of
from pytest_circuits.spec.template import answers
from pytest_circuits.spec.types import Calibration, Spec

FITTED_PAIRS = 256


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A circuit's calibration, and how it does on the evaluation prompts with and without."""

    calibration: Calibration
    quality: Quality
    plain: Quality


@stage
def with_calibration(case: Case, nodes: Nodes, edges: Edges | None, plain: Quality) -> Calibrated:
    """Fit the calibration of a circuit; NotFoundError where it is not good enough with it.

    plain: its quality without.
    """
    spec, runner = case.subject.spec, case.subject.judge.runner
    if len(answers(spec.behavior)) > 2:
        raise _not_good_enough(
            spec, nodes, "a calibration is between two answers, and there are more"
        )
    view = View.circuit(nodes, edges)
    parts = split(PromptSpace(spec.behavior), evaluation=case.plan.evaluation_pairs)
    fitted = parts.training[:FITTED_PAIRS]
    found = fit(runner.margins(fitted, view), runner.margins(fitted, WHOLE))
    if found is None:
        raise _not_good_enough(spec, nodes, "no calibration within its bounds helps")
    margins = runner.margins(parts.evaluation, view)
    moved = calibrated(margins, found.model_copy(update={"scale": 1.0}))  # as rates and laws see it
    weights = np.array(parts.weights)
    quality = replace(
        plain,
        loss=float(weights @ np.logaddexp(0, -found.scale * moved).mean(axis=1)),
        rate=float(weights @ (moved > 0).mean(axis=1)),
    )
    margin = margin_of(spec.protocol, runner, parts.evaluation)
    bar, typical = bar_of(spec, PrunePlan(), margin=margin), float(np.median(np.abs(moved)))
    if quality.loss > bar.max_loss or quality.rate < bar.min_rate:
        reached = f"its task loss is {quality.loss:.3f} (at most {bar.max_loss:.3f} wanted)"
        raise _not_good_enough(spec, nodes, f"{reached}, its rate {quality.rate:.3f}")
    if typical < margin:
        reason = f"it prefers by {typical:.2f} nats, less than the margin of the laws"
        raise _not_good_enough(spec, nodes, reason)
    return Calibrated(found, quality, plain)


def _not_good_enough(spec: Spec, nodes: Nodes, reason: str) -> NotFoundError:
    return NotFoundError(
        f"{spec.circuit}: the circuit of {nodes.count} nodes that was found is not good "
        f"enough when calibrated: {reason}. Search without --calibrate"
    )
