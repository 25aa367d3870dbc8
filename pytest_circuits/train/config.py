"""What `pytest-circuits train` is asked to do: the YAML file that makes a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Data(_Frozen):
    """The text: the standard library, mixed with generated lines."""

    vocab_size: Annotated[int, Field(ge=300, le=65536)] = 1024
    library_modules: Annotated[int, Field(ge=65)] | None = None  # the first so many; null: all
    generated_documents: Annotated[int, Field(ge=65, le=1_000_000)] = 3000
    generated_share: Share = 0.5  # of the rows of every batch


class Shape(_Frozen):
    """The architecture, as in `config.json`."""

    n_layer: Annotated[int, Field(ge=1, le=256)] = 2
    d_model: Annotated[int, Field(ge=8, le=65536)] = 128
    d_head: Annotated[int, Field(ge=1, le=1024)] = 16
    d_mlp: Annotated[int, Field(ge=8, le=65536)] = 512
    max_tokens: Annotated[int, Field(ge=8, le=65536)] = 64
    activation: Literal["gelu", "relu"] = "gelu"
    activation_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    sinks: bool = True
    bigram: bool = True


class Sparsity(_Frozen):
    """How many weights stay, and how the dense model gets there (Gao et al. 2025, 2.1, A.2)."""

    density: Annotated[float, Field(gt=0, le=1)] = 0.03  # of every block matrix, at the end
    embedding_density: Annotated[float, Field(gt=0, le=1)] = 0.25
    min_per_neuron: Annotated[int, Field(ge=0, le=64)] = 1
    anneal_start: Share = 0.01
    anneal_stop: Share = 0.5


class Optimizer(_Frozen):
    """Adam with decoupled weight decay.

    `normalise: rms` divides every gradient by the root mean square of all of them and goes with
    eps 0.1 (the paper's recipe, A.2); `clip` limits their norm to 1 and goes with eps 1e-8.
    """

    lr: Positive = 3e-3
    betas: tuple[Share, Share] = (0.9, 0.95)
    eps: Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    normalise: Literal["rms", "clip"] = "clip"
    warmup: Share = 0.01
    sharkfin: bool = False  # multiply the learning rate by sqrt(final density / density)


class TrainConfig(_Frozen):
    """One training run, reproducible from this file, the interpreter's version and torch's."""

    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    steps: Annotated[int, Field(ge=1)] = 6000
    batch: Annotated[int, Field(ge=1, le=65536)] = 32
    data: Data = Data()
    shape: Shape = Shape()
    sparsity: Sparsity = Sparsity()
    optimizer: Optimizer = Optimizer()

    @model_validator(mode="after")
    def _floor_fits_the_budget(self) -> TrainConfig:
        most = self.sparsity.density * self.shape.d_model
        if self.sparsity.min_per_neuron > most:
            raise ValueError(
                f"sparsity.min_per_neuron {self.sparsity.min_per_neuron} asks for more than "
                f"sparsity.density {self.sparsity.density} leaves: at most {int(most)} a neuron"
            )
        return self
