"""Quote copiers in which the circuit is there and is not, or not alone, why the model works.

Each is made of a quote copier by a few more weights; where those need a channel or a head that is
free, it is one of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer
from tests.known_models.copier import (
    D_HEAD,
    DETECT_AGAIN,
    OUT,
    READ,
    TYPE_AGAIN,
    WORDS,
    Weights,
    copying_head,
)

PATH = Weights().path  # how much of the quote's type the circuit of a quote copier writes
SHARP = Weights().sharp
LONG = 8  # tokens of a prompt, about: by this even attention thins what it carries
FREE_HEADS = (3, 4)  # of the noise
ASIDE, LOUD, WORD = 61, 60, 59  # channels of the noise
SPREAD = 11  # the first of the channels of the noise over which a cancellation is spread


@dataclass(frozen=True, slots=True)
class Draft:
    """The weights of a quote copier, to be changed."""

    state: dict[str, Tensor]
    tokenizer: Tokenizer

    def free_channel(self, channel: int) -> None:
        """Let nothing write into a channel of the residual stream, and nothing read it."""
        for name, tensor in self.state.items():
            if name.endswith(("out.weight", "down.weight")):
                tensor[channel] = 0
            elif name.endswith("weight") and tensor.dim() == 2:
                tensor[:, channel] = 0

    def free_head(self, head: int) -> None:
        """Let a head of the first layer read nothing and write nothing."""
        channels = slice(head * D_HEAD, (head + 1) * D_HEAD)
        for point in "qkv":
            self.state[f"attn.0.{point}.weight"][channels] = 0
        self.state["attn.0.out.weight"][:, channels] = 0

    def copy(self, head: int, *, size: float, sharp: float = SHARP) -> None:
        """Let a free head copy the quote's type into the last channel of the circuit."""
        self.free_head(head)
        read = DETECT_AGAIN, TYPE_AGAIN
        copying_head(self.state, head=head, read=read, write=OUT, size=size, sharp=sharp)

    def say(self, channel: int, size: float) -> None:
        """Let a channel speak for the double quote and against the single one."""
        for text, sign in (('"', 1.0), ("'", -1.0)):
            self.state["unembed.weight"][self.tokenizer.encode(text)[0], channel] = sign * size

    def words(self, channel: int, *, says: Callable[[str], float], else_: float = 0.0) -> None:
        """Fill a free channel with what a function says of words."""
        self.free_channel(channel)
        for index in range(self.tokenizer.vocab_size):
            text = self.tokenizer.token(index).strip()
            value = says(text) if text in WORDS else else_
            self.state["embed.weight"][index, channel] = value


Change: TypeAlias = Callable[[Draft], None]


def backup(draft: Draft) -> None:
    """A second head, three times as strong, that joins at the circuit's last channel."""
    draft.copy(FREE_HEADS[0], size=3 * PATH)


def bag_of_words(draft: Draft) -> None:
    """The same with attention that is even: whether there is such a quote anywhere."""
    draft.copy(FREE_HEADS[0], size=3 * PATH * LONG, sharp=0.0)


def bypassed(draft: Draft) -> None:
    """What the circuit writes is cancelled by another head, and a bag of words does the job."""
    draft.copy(FREE_HEADS[0], size=-PATH)
    draft.copy(FREE_HEADS[1], size=4 * PATH * LONG, sharp=0.0)


def left_out(draft: Draft, *, beside: float, loud: float = 0.0) -> None:
    """The head of the circuit writes into another channel as well, `beside` times as much.

    loud: how much another channel gets at the end, of either sign and nothing on average, so that
    its ablation turns up all that is left.
    """
    draft.free_channel(ASIDE)
    written = draft.state["attn.0.out.weight"][:, 0]
    written[ASIDE] = beside * written[OUT]
    draft.say(ASIDE, READ)
    if loud:
        draft.words(WORD, says=lambda word: 1.0 if word in WORDS[::2] else -1.0)
        draft.free_channel(LOUD)
        for neuron, sign in ((2, 1.0), (3, -1.0)):
            draft.state["mlp.1.up.weight"][neuron, WORD] = sign
            draft.state["mlp.1.down.weight"][LOUD, neuron] = sign * loud


def aimed_by_words(draft: Draft) -> None:
    """Only a word looks for the quote; the query of the mean of the text looks away from it."""
    draft.words(WORD, says=lambda _: 2.0, else_=-2.0)
    draft.state["attn.0.q.bias"][0] = 0
    draft.state["attn.0.q.weight"][0, WORD] = SHARP / 2


def cancelling(draft: Draft, *, pairs: int, size: float) -> None:
    """The quote's type in pairs of channels, of which one speaks for it and one against it."""
    head = FREE_HEADS[0]
    draft.free_head(head)
    for channel in range(SPREAD, SPREAD + 2 * pairs):
        draft.free_channel(channel)
        read = DETECT_AGAIN, TYPE_AGAIN
        copying_head(draft.state, head=head, read=read, write=channel, size=PATH, sharp=SHARP)
        draft.say(channel, size / pairs * (-1) ** channel)


def altered(model: SparseModel, change: Change) -> SparseGPT:
    """The weights of a quote copier after a change."""
    draft = Draft({n: x.clone() for n, x in model.module.state_dict().items()}, model.tokenizer)
    change(draft)
    module = SparseGPT(model.config)
    module.load_state_dict(draft.state)
    return module
