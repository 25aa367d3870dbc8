"""What `pytest-circuits train` is asked to do: the YAML file that makes a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pytest_circuits.model.sparse.config import Architecture, Layers
from pytest_circuits.model.sparse.config import Share as Density
from pytest_circuits.spec.frozen import Frozen
from pytest_circuits.train.data.config import Data, Path
from pytest_circuits.train.presets import PRESETS, merged

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
_Beta = Annotated[float, Field(ge=0, lt=1)]
Interval = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=8, le=65536)]


def _names_files(pattern: str) -> str:
    name = pattern.rpartition("/")[2]
    if name in {"", ".", ".."} or "**" in name or "\0" in pattern:
        raise ValueError(f"{pattern!r} names no files; write such as circuits/*.circuit.yaml")
    return pattern


_Files = Annotated[str, AfterValidator(_names_files)]


class Shape(Architecture):
    """The model, as in `config.json`."""

    n_layer: Layers = 2
    d_model: Width = 128
    d_head: Annotated[int, Field(ge=1, le=1024)] = 16
    d_mlp: Width = 512
    max_tokens: Width = 64

    @model_validator(mode="after")
    def _heads_fill_the_model(self) -> Shape:
        if self.d_model % self.d_head:
            raise ValueError(f"d_model {self.d_model} is not a multiple of d_head {self.d_head}")
        return self


class Sparsity(Frozen):
    """How many weights stay, and how the dense model gets there (Gao et al. 2025, 2.1, A.2).

    The released script keeps embeddings denser than block matrices, by the factor by which the
    model is wider than its dense counterpart, and biases dense; the paper's text has one density
    for all. `anneal` is the way of the density down: `linear` (the paper), `exponent`
    (1 - (1 - x)^anneal_exponent of the way done at share x of the time), `exponential` (linear in
    log density), `log-log` (linear in log density against log time).
    """

    density: Density = 0.03  # of every block matrix, at the end
    embedding_density: Density = 0.25  # of the token embedding and the unembedding
    bias_density: Density = 1.0  # of every bias of a sublayer
    min_per_neuron: Annotated[int, Field(ge=0, le=64)] = 1
    anneal: Literal["linear", "exponent", "exponential", "log-log"] = "linear"
    anneal_exponent: Positive = 1.0
    anneal_start: Share = 0.01
    anneal_stop: Share = 0.5
    # Embeddings go down on the same schedule to their own density; or, as in the models of the
    # paper (a slip that its authors kept), stay dense until late and then go down fast.
    embedding_anneal: Literal["own", "late"] = "own"

    @model_validator(mode="after")
    def _parts_fit(self) -> Sparsity:
        if self.anneal_stop < self.anneal_start:
            raise ValueError(
                f"anneal_stop {self.anneal_stop} lies before anneal_start {self.anneal_start}"
            )
        if self.anneal == "log-log" and self.anneal_start == 0:
            raise ValueError("anneal 'log-log' starts from a share of the steps above 0")
        if self.anneal_exponent != 1 and self.anneal != "exponent":
            raise ValueError("anneal_exponent goes with anneal 'exponent'")
        return self


class Optimizer(Frozen):
    """Adam with decoupled weight decay of the matrices.

    `normalise: rms` divides every gradient by the root mean square of all of them and goes with
    eps 0.1 (the paper's recipe, A.2); `clip` limits their norm to 1 and goes with eps 1e-8.
    """

    lr: Positive = 3e-3
    betas: Annotated[tuple[_Beta, _Beta], Field(strict=False)] = (0.9, 0.95)
    eps: Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    normalise: Literal["rms", "clip"] = "clip"
    warmup: Share = 0.01
    decay: Literal["linear", "cosine", "none"] = "linear"  # after the warm-up, to zero
    sharkfin: bool = False  # multiply the learning rate by sqrt(final density / density)


class Checkpoints(Frozen):
    """How often the state of a run is kept, so that it can be killed and resumed."""

    every: Interval = 500  # steps
    keep: Annotated[int, Field(ge=1)] = 2


class Metrics(Frozen):
    """What is written to `metrics.jsonl` in the folder of the run."""

    every: Interval = 50  # steps
    tensorboard: bool = False  # the same, for TensorBoard


class Evaluation(Frozen):
    """What is measured during a run on text that is not trained on, and on behaviors."""

    every: Interval = 1000  # steps, and at the end
    windows: Annotated[int, Field(ge=1)] = 512  # of each source
    # Specifications, relative to this file; `*` is allowed.
    behaviors: Annotated[tuple[_Files, ...], Field(strict=False)] = ()
    prompts: Annotated[int, Field(ge=2)] = 200  # of each behavior


class Pairs(Frozen):
    """Contrast pairs that are learnt beside the text, and a price on the nodes that they hang on.

    See `pairs.py`. A node costs its price times e / (e + small), where e is what ablating it does
    to the answer, in nats, a mean over the prompts of a behavior: by what the other prompt of the
    pair carries (`cue_price`), or by what text at large does (`text_price`).
    """

    # Specifications, relative to this file; `*` is allowed.
    behaviors: Annotated[tuple[_Files, ...], Field(strict=False, min_length=1, max_length=1000)]
    drawn: Annotated[int, Field(ge=1)] = 4  # behaviors, for each step
    pairs: Annotated[int, Field(ge=1)] = 4  # of each
    task_weight: Annotated[float, Field(ge=0)] = 1.0  # of their task loss
    cue_price: Annotated[float, Field(ge=0)] = 0.01  # nats
    text_price: Annotated[float, Field(ge=0)] = 0.001  # nats
    small: Positive = 0.1  # nats; a node of that effect costs half of its price
    rise: Share = 0.2  # of the steps, in which prices rise to their full height


class TrainConfig(Frozen):
    """One training run, reproducible from this file, the interpreter's version and torch's.

    `preset` names the values that hold where the file is silent, see `presets.py`. Tuples bear to
    be given as lists, because the values go through Python on their way.
    """

    preset: Literal[tuple(PRESETS)] | None = None  # type: ignore[valid-type]  # from one table
    start_from: Path | None = None  # a model directory whose weights, shape and tokenizer it takes
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    steps: Interval = 6000
    batch: Annotated[int, Field(ge=1, le=65536)] = 32  # rows a step, over all processes
    precision: Literal["float32", "bfloat16"] = "float32"  # of the matrix products (autocast)
    parallel: Literal["ddp", "fsdp"] = "ddp"  # how several processes share the work
    data: Data = Data()
    shape: Shape = Shape()
    sparsity: Sparsity = Sparsity()
    optimizer: Optimizer = Optimizer()
    pairs: Pairs | None = None
    checkpoints: Checkpoints = Checkpoints()
    metrics: Metrics = Metrics()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _preset_fills_in(cls, values: Any) -> Any:  # noqa: ANN401  (whatever was given)
        if not isinstance(values, dict) or not isinstance(name := values.get("preset"), str):
            return values
        return merged(PRESETS[name], values) if name in PRESETS else values

    @model_validator(mode="after")
    def _floor_fits_the_budget(self) -> TrainConfig:
        most = self.sparsity.density * self.shape.d_model
        if self.sparsity.min_per_neuron > most:
            raise ValueError(
                f"sparsity.min_per_neuron {self.sparsity.min_per_neuron} asks for more than "
                f"sparsity.density {self.sparsity.density} leaves: at most {int(most)} a neuron"
            )
        return self

    def decisive(self) -> dict[str, Any]:
        """The part of the configuration that decides the weights."""
        return self.model_dump(exclude={"preset", "checkpoints", "metrics", "evaluation"})
