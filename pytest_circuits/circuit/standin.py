"""When a compiled circuit runs in place of the ablated model: where it pays, and has been checked.

Both give the same logits up to rounding, but rounding shows in evidence. So which of the two runs
depends on the view, the model and the prompts that a specification asks for, and on nothing that
happens in a run: not on the order of claims, on workers, or on what took how long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.circuit.view import Kept, View
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.types import Ablation

# On the bundled model compiling and checking take as long as some 150 prompts of the ablated model,
# and a circuit of a third of all nodes runs no faster compiled.
LEAST_PROMPTS = 256
LARGEST_SHARE = 0.1  # of all nodes of the model
TOLERANCE = 1e-5  # of a logit, relative and in nats


def pays(view: View, model: Model, ablation: Ablation, *, prompts: int) -> bool:
    """Whether a view of which so many prompts are asked is to run as a compiled circuit."""
    return (
        view.kept is Kept.NODES
        and ablation is not Ablation.RESAMPLE
        and prompts >= LEAST_PROMPTS
        and view.nodes.count <= LARGEST_SHARE * sum(model.hook_points.values())
    )


def agree(compiled: NDArray[np.float64], ablated: NDArray[np.float64]) -> bool:
    """Whether two runs gave the same logits; what is not a number agrees with nothing."""
    return bool(np.allclose(compiled, ablated, rtol=TOLERANCE, atol=TOLERANCE))
