"""What `pytest-circuits train --from DIR` is asked to do: the YAML file of a bridge."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from pytest_circuits.model.sparse.config import Share as Density
from pytest_circuits.spec.frozen import Frozen
from pytest_circuits.train.config import Checkpoints, Interval, Metrics, Optimizer, Positive, Width
from pytest_circuits.train.data.config import Data


class Evaluation(Frozen):
    """What decides which weights are written: held-out text, at these steps and at the end."""

    every: Interval = 100  # steps
    windows: Annotated[int, Field(ge=1)] = 256  # of each source


class BridgeConfig(Frozen):
    """A bridge from a dense model, reproducible from this file, that model and the versions."""

    # Nats per token of held-out text: of the loss above the dense model's, and of the divergence
    # from its predictions.
    max_rise: Positive
    max_loss: Positive | None = None  # nats per token of held-out text, whatever the dense one has
    min_density: Density = 0.01  # share of the weights of a matrix that stays whatever the loss
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    steps: Interval = 2000
    batch: Annotated[int, Field(ge=1, le=65536)] = 32  # rows a step
    max_tokens: Width = 64  # of a row
    data: Data  # its tokenizer is the model's
    optimizer: Optimizer = Optimizer(lr=1e-3)
    checkpoints: Checkpoints = Checkpoints()
    metrics: Metrics = Metrics()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _nothing_is_known_in_advance(self) -> BridgeConfig:
        if self.optimizer.sharkfin:
            raise ValueError("optimizer.sharkfin needs the final density, which the loss decides")
        return self

    def decisive(self) -> dict[str, Any]:
        """The part of the configuration that decides the weights."""
        return self.model_dump(exclude={"checkpoints", "metrics"})
