"""Updates that leave what a model computes as it is, and some of a quote copier that do not.

Signs that are flipped and undone by all that reads them, gains that are moved (by powers of two),
and heads or neurons in another order. AbsTopK selects by size, so that signs are always free, and
gains where they are moved for a whole hook point; ReLU lets gains through and no signs. `JOINED`
leave the circuit of a quote copier as it is, and let another path do most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.gpt import SparseGPT
from tests.known_models.copier import D_HEAD, DETECT_AGAIN, OUT, TYPE_AGAIN, Weights

State = dict[str, Tensor]
Update = Callable[[State, int], None]  # changes the weights of a model, whose heads are so wide

PATH, SHARP = Weights().path, Weights().sharp
LONG = 8  # tokens of a prompt, about: by this even attention thins what it carries
READERS = ("q.weight", "k.weight", "v.weight", "up.weight", "unembed.weight")
WRITERS = ("out.weight", "down.weight", "out.bias", "down.bias")


def updated(model: SparseModel, update: Update) -> SparseGPT:
    """The weights of a model after an update."""
    state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    update(state, model.config.d_head)
    module = SparseGPT(model.config)
    module.load_state_dict(state)
    return module


def _scaled(state: State, point: str, by: float, *, undone_in: str) -> None:
    """Scale what holds at a point of every layer, and undo it in what reads that."""
    for name, tensor in state.items():
        if name.endswith((f"{point}.weight", f"{point}.bias")):
            tensor.mul_(by)
        if name.endswith(f"{undone_in}.weight"):
            tensor.div_(by)


def values_negated(state: State, _: int) -> None:
    _scaled(state, ".v", -1.0, undone_in=".out")


def one_value_negated(state: State, _: int) -> None:
    """The first value channel, which is that of the copied quote."""
    state["attn.0.v.weight"][0] *= -1
    state["attn.0.v.bias"][0] *= -1
    state["attn.0.out.weight"][:, 0] *= -1


def queries_and_keys_negated(state: State, _: int) -> None:
    for point in (".q", ".k"):
        _scaled(state, point, -1.0, undone_in="nothing")


def stream_negated_in_part(state: State, _: int) -> None:
    """Every third channel of the residual stream, the quote's last one among them."""
    state["embed.weight"][:, 2::3] *= -1
    for name, tensor in state.items():
        if name.endswith(READERS):
            tensor[:, 2::3] *= -1
        elif name.endswith(WRITERS):
            tensor[2::3] *= -1


def values_doubled(state: State, _: int) -> None:
    _scaled(state, ".v", 2.0, undone_in=".out")


def queries_doubled(state: State, _: int) -> None:
    _scaled(state, ".q", 2.0, undone_in="nothing")
    _scaled(state, ".k", 0.5, undone_in="nothing")


def neurons_doubled(state: State, _: int) -> None:
    _scaled(state, ".up", 2.0, undone_in=".down")


def norms_doubled(state: State, _: int) -> None:
    """What every sublayer and the unembedding read is twice as large."""
    for name, tensor in state.items():
        if name.endswith("norm.weight"):
            tensor.mul_(2)
        elif name.endswith(READERS):
            tensor.div_(2)


def heads_rotated(state: State, width: int) -> None:
    """Each head has the number of the next one."""
    for name, tensor in state.items():
        if name.endswith((".q.weight", ".k.weight", ".v.weight", ".q.bias", ".k.bias", ".v.bias")):
            tensor.copy_(tensor.roll(width, dims=0))
        elif name.endswith(".out.weight"):
            tensor.copy_(tensor.roll(width, dims=1))


def neurons_reversed(state: State, _: int) -> None:
    for name, tensor in state.items():
        if name.endswith((".up.weight", ".up.bias")):
            tensor.copy_(tensor.flip(0))
        elif name.endswith(".down.weight"):
            tensor.copy_(tensor.flip(1))


IN_PLACE: Mapping[str, Update] = {
    "values negated": values_negated,
    "one value negated": one_value_negated,
    "queries and keys negated": queries_and_keys_negated,
    "a third of the stream negated": stream_negated_in_part,
    "values doubled": values_doubled,
    "queries doubled, keys halved": queries_doubled,
    "neurons doubled": neurons_doubled,
    "norms doubled": norms_doubled,
}
RENUMBERED: Mapping[str, Update] = {
    "heads in another order": heads_rotated,
    "neurons in another order": neurons_reversed,
}


def joined(state: State, *, size: float, sharp: float = SHARP) -> None:
    """A second head writes what it copies into the last channel of the circuit."""
    state["attn.0.q.bias"][D_HEAD] = sharp
    state["attn.0.out.weight"][OUT, D_HEAD] = size


def backup(state: State, _: int) -> None:
    joined(state, size=3 * PATH)


def bag_of_words(state: State, _: int) -> None:
    joined(state, size=3 * PATH * LONG, sharp=0.0)


def bypassed(state: State, _: int) -> None:
    """The bag of words does it all, since a third head takes away what the circuit writes."""
    joined(state, size=4 * PATH * LONG, sharp=0.0)
    for point, reads in (("k", DETECT_AGAIN), ("v", TYPE_AGAIN)):
        state[f"attn.0.{point}.weight"][2 * D_HEAD] = 0
        state[f"attn.0.{point}.weight"][2 * D_HEAD, reads] = 2.0 if point == "k" else 1.0
    state["attn.0.out.weight"][OUT, 2 * D_HEAD] = -PATH


JOINED: Mapping[str, Update] = {
    "a backup": backup,
    "a bag of words": bag_of_words,
    "a bag of words in place of the circuit": bypassed,
}
