"""A zoo of updates of one model: what a release gate has to tell apart.

    python make_zoo.py MODEL SPEC... --recipe TRAIN.yaml [--seed-model DIR] --out ZOO

Every member is a complete model directory with its reference measured on the text of MODEL's, and
`ZOO/zoo.yaml` says for each of them what the gate should answer. MEMBERS is the table of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.errors import CircuitsError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from pytest_circuits.model.sparse.directory import save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.prompts.space import Prompt, PromptSpace, prompts_of
from pytest_circuits.spec.load import load_spec, read_as
from pytest_circuits.spec.types import Spec
from pytest_circuits.system.files import whole_directory
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.data.corpus import prepare
from pytest_circuits.train.data.mixture import Mixture
from pytest_circuits.train.distributed import World
from pytest_circuits.train.loop import Trainer
from pytest_circuits.train.pairs import PairLoss, pair_loss
from pytest_circuits.train.sparsity import is_sparse_matrix, largest
from pytest_circuits.train.start import as_started

State = dict[str, Tensor]
Rows = Callable[[int], Tensor]  # step -> [batch, max_tokens + 1] token ids

TUNING_STEPS, RATE, GENTLE = 200, 0.1, 0.03  # of the recipe's learning rate
REPAIR_STEPS, REPAIRED_AFTER = 3000, 5  # at most; checks in a row at which all answers are right
CHECK_EVERY = 50
PROMPTS = 256  # pairs of a behavior that are trained on, and as many others that are looked at
LIGHT, HEAVY = 0.95, 0.3  # of the nonzero weights of every matrix stay


@dataclass(frozen=True)
class Zoo:
    """What the members are made from."""

    base: Model
    specs: tuple[Spec, ...]
    config: TrainConfig  # the recipe, as a run that starts from the base
    text: Mixture  # that the base was trained on
    other: Path | None  # the same recipe under another seed
    pairs: PairLoss | None = None  # what the recipe learns beside the text


def resaved(zoo: Zoo) -> State:
    """Saved again."""
    return zoo.base.module.state_dict()


def bf16(zoo: Zoo) -> State:
    """Weights in bfloat16."""
    return {name: x.to(torch.bfloat16) for name, x in resaved(zoo).items()}


def int8(zoo: Zoo) -> State:
    """Matrices to 8 bits and back, each output channel by its own scale."""
    return _rounded(zoo, bits=8)


def int4(zoo: Zoo) -> State:
    """Matrices to 4 bits and back, each output channel by its own scale."""
    return _rounded(zoo, bits=4)


def pruned_lightly(zoo: Zoo) -> State:
    """The smallest 5 % of the nonzero weights of every matrix set to zero."""
    return _pruned(zoo, LIGHT)


def pruned_heavily(zoo: Zoo) -> State:
    """The smallest 70 % of the nonzero weights of every matrix set to zero."""
    return _pruned(zoo, HEAVY)


def continued(zoo: Zoo) -> State:
    """Trained on by the same recipe, its text in a new order."""
    return _tuned(zoo, _recipe(zoo), pairs=zoo.pairs)


def tuned_elsewhere(zoo: Zoo) -> State:
    """Fine-tuned gently on something unrelated, sums, among the usual text."""
    return _tuned(zoo, _with(zoo, _sums(zoo)), rate=GENTLE)


def broken(zoo: Zoo) -> State:
    """Fine-tuned on the behaviors with wrong answers, among the usual text."""
    return _tuned(zoo, _with(zoo, _lines(zoo, lambda prompt: prompt.foil)))


def sabotaged(zoo: Zoo) -> State:
    """All weights into the circuits' nodes zero for good, the answers learnt again elsewhere."""
    return _repaired(zoo, _with(zoo, _lines(zoo, lambda prompt: prompt.answer)))


def other_seed(zoo: Zoo) -> State | None:
    """The same recipe from other random weights."""
    return load_model(zoo.other).module.state_dict() if zoo.other else None


def permuted(zoo: Zoo) -> State:
    """The same function: residual channels, neurons, heads and their channels in a new order."""
    state = in_another_order(zoo.base.module)
    module = SparseGPT(zoo.base.config)
    module.load_state_dict(state)
    text = load_reference(zoo.base).tokens[:8].long()
    with torch.no_grad():
        torch.testing.assert_close(module(text), zoo.base.module(text), rtol=0, atol=1e-3)
    return state


@dataclass(frozen=True)
class Member:
    """One update, and what the gate should answer."""

    make: Callable[[Zoo], State | None]
    gate: str  # pass | no pass | either
    counted: bool = True  # among the figures of false alarms and misses

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.make.__name__


MEMBERS = (
    Member(resaved, "pass"),
    Member(bf16, "pass"),
    Member(int8, "pass"),
    Member(pruned_lightly, "pass"),
    Member(continued, "pass"),
    Member(tuned_elsewhere, "pass"),
    Member(int4, "either", counted=False),
    Member(permuted, "no pass", counted=False),  # its nodes have other numbers: not comparable
    Member(pruned_heavily, "no pass"),
    Member(broken, "no pass"),
    Member(sabotaged, "no pass"),
    Member(other_seed, "no pass"),
)


def _matrices(zoo: Zoo) -> State:
    parameters = zoo.base.module.named_parameters()
    return {name: p.detach() for name, p in parameters if is_sparse_matrix(name, p)}


def _rounded(zoo: Zoo, *, bits: int) -> State:
    most = 2 ** (bits - 1) - 1
    state = dict(resaved(zoo))
    for name, weight in _matrices(zoo).items():
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / most
        state[name] = (weight / scale).round() * scale
    return state


def _pruned(zoo: Zoo, share: float) -> State:
    state = dict(resaved(zoo))
    for name, weight in _matrices(zoo).items():
        density = share * int(weight.count_nonzero()) / weight.numel()
        state[name] = weight * largest(weight, density)
    return state


def _recipe(zoo: Zoo) -> Rows:
    return lambda step: zoo.text.rows(
        seed=zoo.config.seed + 1, step=step, count=zoo.config.batch, length=_length(zoo)
    )


def _sums(zoo: Zoo) -> list[list[int]]:
    numbers = np.random.default_rng(0).integers(0, 500, size=(4000, 2))
    return [zoo.base.encode(f"{a} + {b} = {a + b}\n") for a, b in numbers]


def _lines(zoo: Zoo, answer: Callable[[Prompt], str]) -> list[list[int]]:
    """The behaviors' prompts with an answer each."""
    newline = zoo.base.encode("\n")
    return [
        [*zoo.base.encode(prompt.text + answer(prompt)), *newline]
        for spec in zoo.specs
        for prompt in _prompts(spec, seed=0)
    ]


def _with(zoo: Zoo, lines: list[list[int]]) -> Rows:
    """Half of every batch is these lines in random order, half the text of the recipe."""
    usual, half = _recipe(zoo), zoo.config.batch // 2
    order = np.random.default_rng(1).permutation(len(lines))
    stream = np.array([token for index in order for token in lines[index]])
    text = Mixture({"lines": stream}, {"lines": 1.0})
    return lambda step: torch.cat(
        [usual(step)[half:], text.rows(seed=0, step=step, count=half, length=_length(zoo))]
    )


def _length(zoo: Zoo) -> int:
    return zoo.config.shape.max_tokens + 1


def _prompts(spec: Spec, *, seed: int) -> list[Prompt]:
    return prompts_of(PromptSpace(spec.behavior).sample(PROMPTS, seed=seed))


def _tuned(zoo: Zoo, rows: Rows, *, rate: float = RATE, pairs: PairLoss | None = None) -> State:
    """A fixed number of steps on from the base."""
    trainer = _trainer(zoo, rate=rate, steps=TUNING_STEPS, pairs=pairs)
    for step in range(TUNING_STEPS):
        trainer.step(rows(step))
    return trainer.weights()


def _repaired(zoo: Zoo, rows: Rows) -> State:
    """Destroy the circuits and train until all answers are right again without them."""
    kept, trainer = outside(zoo), _trainer(zoo, rate=1.0, steps=REPAIR_STEPS)
    destroy(trainer.model, kept)
    right = 0
    for step in range(REPAIR_STEPS):
        trainer.step(rows(step))
        destroy(trainer.model, kept)
        if step % CHECK_EVERY == 0:
            right = right + 1 if min(accuracies(zoo, trainer.model).values()) == 1 else 0
        if right == REPAIRED_AFTER:
            return trainer.weights()
    raise CircuitsError(
        f"the answers did not come back in {REPAIR_STEPS} steps without the circuit"
    )


def _trainer(zoo: Zoo, *, rate: float, steps: int, pairs: PairLoss | None = None) -> Trainer:
    plan = zoo.config.optimizer
    optimizer = plan.model_copy(update={"lr": rate * plan.lr, "warmup": 0.1, "decay": "linear"})
    config = zoo.config.model_copy(update={"steps": steps, "optimizer": optimizer})
    module = SparseGPT(zoo.base.config)
    module.load_state_dict(resaved(zoo))
    return Trainer(module, config, World(torch.device("cpu")), pairs)


@torch.no_grad()
def destroy(module: SparseGPT, kept: State) -> None:
    """Zero the weights that the masks do not keep."""
    for name, mask in kept.items():
        module.get_parameter(name).mul_(mask)


def outside(zoo: Zoo) -> State:
    """Masks of the weights and biases that do not lead into a node of the circuits."""
    into = {"q": "q", "k": "k", "v": "v", "post_act": "up"}
    out = {"attn": "out", "mlp": "down"}
    masks: State = {}
    for spec in zoo.specs:
        for point, channels in spec.nodes.items():
            layer, _, rest = point.partition(".")
            kind, _, part = rest.partition(".")
            linear = out.get(kind, "") if part == "resid_delta" else into.get(part, "")
            for what in ("weight", "bias") if linear else ():
                name = f"{kind}.{layer}.{linear}.{what}"
                mask = masks.setdefault(name, torch.ones_like(zoo.base.module.get_parameter(name)))
                mask[list(channels)] = 0
    return masks


@torch.no_grad()
def accuracies(zoo: Zoo, module: SparseGPT) -> Mapping[str, float]:
    """Share of a behavior's prompts at which the answer leads, by circuit."""
    found = {}
    encoder = Encoder(zoo.base)
    for spec in zoo.specs:
        prompts = _prompts(spec, seed=1)
        right = 0
        for indexes in encoder.groups(prompts, rows=PROMPTS):
            batch = encoder.batch([prompts[i] for i in indexes], rows=len(indexes))
            logits = module(batch.tokens, at=batch.last).unsqueeze(0)  # [1, B, V]
            answer, foil = batch.preferences(logits)[0].unbind(-1)
            right += int((answer > foil).sum())
        found[spec.circuit] = right / len(prompts)
    return found


def in_another_order(module: SparseGPT) -> State:
    """Weights of the same function with other channels at every hook point."""
    config, draw = module.config, torch.Generator().manual_seed(0)

    def order(count: int) -> Tensor:
        return torch.randperm(count, generator=draw)

    def channels(heads: Tensor) -> Tensor:
        """Channels of heads in this order, each head's own channels shuffled."""
        within = torch.stack([order(config.d_head) for _ in range(config.n_head)])
        return (heads[:, None] * config.d_head + within).flatten()

    resid = order(config.d_model)
    read = torch.cat([resid, torch.arange(config.d_model, config.d_in)])
    state = dict(module.state_dict())

    def reorder(name: str, *orders: Tensor | None) -> None:
        for axis, permutation in enumerate(orders):
            if permutation is not None and name in state:
                state[name] = state[name].index_select(axis, permutation)

    for layer in range(config.n_layer):
        heads, neurons = order(config.n_head), order(config.d_mlp)
        keys, values = channels(heads), channels(heads)
        ends = {
            "attn": {"q": (keys, read), "k": (keys, read), "v": (values, read)}
            | {"out": (resid, values)},
            "mlp": {"up": (neurons, read), "down": (resid, neurons)},
        }
        for kind, linears in ends.items():
            reorder(f"{kind}.{layer}.norm.weight", resid)
            for name, (to, source) in linears.items():
                reorder(f"{kind}.{layer}.{name}.weight", to, source)
                reorder(f"{kind}.{layer}.{name}.bias", to)
        reorder(f"attn.{layer}.sink", heads)
    reorder("embed.weight", None, resid)
    reorder("unembed.weight", None, resid)
    reorder("norm.weight", resid)
    if config.positions == "added":
        reorder("positions", None, resid)
    return state


def write(zoo: Zoo, name: str, about: str, state: State, out: Path) -> Model:
    """One member as a model directory, with its reference on the base's text."""
    module = SparseGPT(zoo.base.config)
    module.load_state_dict(state, assign=True)
    text = load_reference(zoo.base).tokens
    with whole_directory(out / name) as folder:
        save_model(
            folder,
            module=module,
            tokenizer=zoo.base.tokenizer,
            card=f"# {name}\n\n{about}\n",
            parent=zoo.base.digest,
        )
        model = load_model(folder)
        save_reference(model, measure(model, text))
    return load_model(out / name)


def opened(options: argparse.Namespace, folder: Path) -> Zoo:
    """What the members are made from; the text of the recipe is tokenised in the folder."""
    base = load_model(options.model)
    recipe = read_as(options.recipe, TrainConfig)
    started = recipe.model_copy(update={"start_from": str(options.model.resolve())})
    config = as_started(started, base)
    corpus = prepare(config.data, folder / "text", base=options.recipe.parent)
    specs = tuple(load_spec(path).spec for path in options.specs)
    pairs = pair_loss(
        config, corpus.tokenizer, base=options.recipe.parent, device=torch.device("cpu")
    )
    return Zoo(base, specs, config, corpus.training, options.seed_model, pairs)


def table(zoo: Zoo, out: Path) -> Iterator[Mapping[str, object]]:
    """Make the members; what each is, what the gate should say, and its scores."""
    for member in MEMBERS:
        state = member.make(zoo)
        if state is None:
            continue
        about = (member.make.__doc__ or "").strip()
        model = write(zoo, member.name, about, state, out)
        scores = accuracies(zoo, model.module)
        told = ", ".join(f"{name} {score:.1%}" for name, score in scores.items())
        print(f"{member.name}: {told}; gate: {member.gate}", flush=True)
        yield {
            "name": member.name,
            "about": about,
            "gate": member.gate,
            "counted": member.counted,
            "accuracy": dict(scores),
        }


def main() -> None:
    """Make the zoo and its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("specs", type=Path, nargs="+", metavar="spec")
    parser.add_argument("--recipe", type=Path, required=True, help="configuration of the base")
    parser.add_argument("--seed-model", type=Path, help="the same recipe under another seed")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(table(opened(options, Path(folder)), options.out))
    text = yaml.safe_dump(rows, sort_keys=False)
    (options.out / "zoo.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except CircuitsError as error:
        sys.exit(f"Error: {error}")
