"""Models whose circuits are known because their weights were set by hand.

A quote copier: the head 0.0 looks for the opening quote and writes its type where the unembedding
reads it. Beside that path there are a weak copy of it (which another setting makes a full backup),
neurons that carry the same signal to nowhere, a channel that only biases the answer, a second
behavior with its own head, and much that varies with the text and matters to none of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import save_reference
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer, train_tokenizer
from tests.known_models.again import write_again

D_MODEL, D_HEAD, D_MLP = 64, 8, 64
DETECT, TYPE, OUT = 0, 1, 2
DETECT_AGAIN, TYPE_AGAIN, WEAK_OUT = 3, 4, 5
DETECT_BRACKET, TYPE_BRACKET, OUT_BRACKET = 6, 7, 8
NOWHERE, BIAS = 9, 10
# Channels and neurons that carry something, and of the cue no more than that it is another token.
NOISE = slice(11, D_MLP)
NOISE_HEADS = slice(3 * D_HEAD, D_MODEL)
READ = 1.5  # weight of the unembedding

Circuit = Mapping[str, Sequence[int]]

QUOTE_PATH: Circuit = {
    "0.attn.act_in": [DETECT, TYPE],
    "0.attn.q": [0],
    "0.attn.k": [0],
    "0.attn.v": [0],
    "0.attn.resid_delta": [OUT],
    "final_resid": [OUT],
}
WEAK_PATH: Circuit = {
    "0.attn.act_in": [DETECT_AGAIN, TYPE_AGAIN],
    "0.attn.q": [D_HEAD],
    "0.attn.k": [D_HEAD],
    "0.attn.v": [D_HEAD],
    "0.attn.resid_delta": [WEAK_OUT],
    "final_resid": [WEAK_OUT],
}
BRACKET_PATH: Circuit = {
    "0.attn.act_in": [DETECT_BRACKET, TYPE_BRACKET],
    "0.attn.q": [2 * D_HEAD],
    "0.attn.k": [2 * D_HEAD],
    "0.attn.v": [2 * D_HEAD],
    "0.attn.resid_delta": [OUT_BRACKET],
    "final_resid": [OUT_BRACKET],
}
BIAS_NODE: Circuit = {"final_resid": [BIAS]}
OTHER = {"quote": "bracket", "bracket": "quote"}  # file of the other behavior, for `specific`
CUES = {
    "quote": ('"\'": "\'"', "'\"': '\"'"),
    "bracket": ("'(': ')'", "'[': ']'"),
    "nonsense": ("\"'\": '\"'", "'\"': \"'\""),  # the quotes with their labels swapped
}
NAMES = ("x", "name", "user_id", "value")
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")


@dataclass(frozen=True, slots=True)
class Weights:
    """What may differ between two quote copiers."""

    path: float = 1.5  # how much of the quote's type the known path writes
    weak: float = 0.01  # the same for its copy: hardly anything, or 1.5 for a full backup
    bracket: float = 1.5  # the same for the second behavior
    sharp: float = 8.0  # constant query of the copying heads
    bias: float = 8.0  # how much a channel of the last word adds to one of the two quotes
    cancel: float = (
        0.0  # what more channels of the words add to one of the quotes, and as many take from it
    )
    pairs: int = 1  # of such channels
    turned: float = (
        0.0  # how much head 0 takes from a channel that head 1 writes, where nothing reads
    )
    jitter: float = 0.0  # random change of every weight that matters to no behavior
    seed: int = 0


def merged(*circuits: Circuit) -> Circuit:
    """All nodes of several circuits."""
    hooks = sorted({hook for circuit in circuits for hook in circuit})
    return {hook: sorted({i for c in circuits for i in c.get(hook, ())}) for hook in hooks}


def write_quote_copier(folder: Path, weights: Weights = Weights()) -> Path:
    """Write the model directory with its tokenizer and reference; returns the folder."""

    def make(folder: Path) -> None:
        lines, tokenizer = _text()
        card = "# A quote copier, set by hand\n"
        save_model(folder, module=_module(tokenizer, weights), tokenizer=tokenizer, card=card)
        model = load_model(folder)
        save_reference(model, measure(model, _windows(tokenizer, lines)))

    return write_again(folder, make, weights)


@cache
def _text() -> tuple[list[str], Tokenizer]:
    lines = _lines()
    return lines, train_tokenizer(lines, vocab_size=320, special=("<|end|>",))


def quote_spec(
    nodes: Circuit,
    *,
    name: str = "quote_close",
    model: str = "model",
    ablation: str = "mean",
    behavior: str = "quote",
    claims: Sequence[str] = ("behaves", "sufficient", "necessary", "stable"),
    stable: str = "{max_drop: 0.02}",
    protocol: str = "{}",
    extra: str = "",
) -> str:
    """Text of a specification of a quote copier's circuit."""
    listed = "".join(f"\n  {hook}: {list(channels)}" for hook, channels in nodes.items())
    contrast = "".join(f"      {cue}\n" for cue in CUES[behavior])
    thresholds = {
        "behaves": "{rate: 0.98}",
        "sufficient": "{rate: 0.95, max_loss: 0.15}",
        "necessary": "{max_rate: 0.65}",
        "stable": stable,
        "faithful": "{rate: 0.9, max_gap: 0.2}",
        "minimal": "{quantile: 0.9}",
        "specific": f"{{others: [{OTHER.get(behavior, 'bracket')}], max_drop: 0.1}}",
        "blind": "{slots: [name], rate: 0.9}",
        "depends_on": "{slots: [cue], rate: 0.9}",
    }
    declared = "".join(f"  {claim}: {thresholds[claim]}\n" for claim in claims)
    return (
        f"version: 1\ncircuit: {name}\nmodel: {model}\nbehavior:\n"
        '  prompt: "{name} = {cue}{words}"\n  slots:\n'
        f"    name: {{choice: [{', '.join(NAMES)}]}}\n"
        f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [1, 5]}}}}\n"
        f"  contrast:\n    cue:\n{contrast}"
        f"ablation: {ablation}\nnodes:{listed or ' {}'}\n"
        f"claims:\n{declared}protocol: {protocol}\n{extra}"
    )


def _lines() -> list[str]:
    """Text in which every token of the behaviors appears, in and out of their patterns."""
    lines = []
    for i in range(400):
        name, words = NAMES[i % 4], " ".join(WORDS[(i * k) % 8] for k in range(1, 2 + i % 5))
        start, end = (("'", "'"), ('"', '"'), ("(", ")"), ("[", "]"))[(i // 3) % 4]
        lines.append(f"{name} = {start}{words}{end}\n{words} = {name}\n")
    return lines


def _windows(tokenizer: Tokenizer, lines: Sequence[str]) -> Tensor:
    ids = [index for line in lines for index in tokenizer.encode(line)]
    rows = len(ids) // 24
    return torch.tensor(ids[: rows * 24]).view(rows, 24)  # [R, T]


def _module(tokenizer: Tokenizer, weights: Weights) -> SparseGPT:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_layer=2,
        d_model=D_MODEL,
        d_head=D_HEAD,
        d_mlp=D_MLP,
        max_tokens=64,
        activation="relu",
        activation_share=1.0,
        sinks=False,
        bigram=False,
    )
    module = SparseGPT(config)
    state = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    for name in state:
        if "norm" in name:
            state[name] += 1
    _scatter(state, weights)
    _embed(state["embed.weight"], tokenizer)
    for head, (read, write, size) in enumerate(
        (
            ((DETECT, TYPE), OUT, weights.path),
            ((DETECT_AGAIN, TYPE_AGAIN), WEAK_OUT, weights.weak),
            ((DETECT_BRACKET, TYPE_BRACKET), OUT_BRACKET, weights.bracket),
        )
    ):
        copying_head(state, head=head, read=read, write=write, size=size, sharp=weights.sharp)
    state["mlp.1.up.weight"][0, OUT], state["mlp.1.up.weight"][1, OUT] = 1.0, -1.0
    state["mlp.1.down.weight"][NOWHERE, 0], state["mlp.1.down.weight"][NOWHERE, 1] = 1.0, -1.0
    _unembed(state["unembed.weight"], tokenizer, bias=weights.bias)
    if weights.cancel:
        _cancelling(state, tokenizer, size=weights.cancel, pairs=weights.pairs)
    if weights.turned:
        state["attn.0.out.weight"][NOWHERE, 0] = -weights.turned
        state["attn.0.out.weight"][NOWHERE, D_HEAD] = 3 * weights.turned
    module.load_state_dict(state)
    return module


def _scatter(state: dict[str, Tensor], weights: Weights) -> None:
    """Activity that varies with the text and never leaves its own channels."""
    generator = torch.Generator().manual_seed(weights.seed)
    change = torch.Generator().manual_seed(weights.seed + 1)

    def drawn(shape: torch.Size, size: float) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        return size * (noise + weights.jitter * torch.randn(shape, generator=change))

    state["embed.weight"][:, NOISE] = drawn(state["embed.weight"][:, NOISE].shape, 1.0)
    state["unembed.weight"][:, NOISE] = drawn(state["unembed.weight"][:, NOISE].shape, 0.05)
    for layer in range(2):
        for point in ("q", "k", "v"):
            into = state[f"attn.{layer}.{point}.weight"][NOISE_HEADS, NOISE]
            into += drawn(into.shape, 0.3)
        for name, block in (
            (f"attn.{layer}.out.weight", (NOISE, NOISE_HEADS)),
            (f"mlp.{layer}.up.weight", (NOISE, NOISE)),
            (f"mlp.{layer}.down.weight", (NOISE, NOISE)),
        ):
            into = state[name][block]
            into += drawn(into.shape, 0.1)


def _embed(embed: Tensor, tokenizer: Tokenizer) -> None:
    for index in range(tokenizer.vocab_size):
        text = tokenizer.token(index).strip()
        if text in {"'", '"'}:
            embed[index, [DETECT, DETECT_AGAIN]] = 4.0
            embed[index, [TYPE, TYPE_AGAIN]] = 4.0 if text == '"' else -4.0
        if text in {"(", "["}:
            embed[index, DETECT_BRACKET] = 4.0
            embed[index, TYPE_BRACKET] = 4.0 if text == "(" else -4.0
        if not text.isalpha():
            embed[index, BIAS] = 2.0


def copying_head(
    state: dict[str, Tensor],
    *,
    head: int,
    read: tuple[int, int],
    write: int,
    size: float,
    sharp: float,
) -> None:
    """Attend to wherever the first channel is active; copy the second from there."""
    detect, kind = read
    channel = head * D_HEAD
    state["attn.0.q.bias"][channel] = sharp
    state["attn.0.k.weight"][channel, detect] = 2.0
    state["attn.0.v.weight"][channel, kind] = 1.0
    state["attn.0.out.weight"][write, channel] = size


def _cancelling(state: dict[str, Tensor], tokenizer: Tokenizer, *, size: float, pairs: int) -> None:
    """Channels that all words have, half for a quote and half against it: ablate all or none."""
    channels = list(range(D_MODEL - 2 * pairs, D_MODEL))  # of the noise
    for index in range(tokenizer.vocab_size):
        state["embed.weight"][index, channels] = 2.0 * tokenizer.token(index).strip().isalpha()
    for layer in range(2):  # nothing else may write there, or they would differ
        state[f"attn.{layer}.out.weight"][channels] = 0.0
        state[f"mlp.{layer}.down.weight"][channels] = 0.0
    state["unembed.weight"][:, channels] = 0.0
    single = tokenizer.encode("'")[0]
    signs = torch.tensor([1.0, -1.0]).repeat(pairs)
    state["unembed.weight"][single, channels] = size / pairs * signs


def _unembed(unembed: Tensor, tokenizer: Tokenizer, *, bias: float) -> None:
    single, double = tokenizer.encode("'")[0], tokenizer.encode('"')[0]
    for channel in (OUT, WEAK_OUT):
        unembed[double, channel], unembed[single, channel] = READ, -READ
    unembed[single, BIAS] = bias
    round_, square = tokenizer.encode(")")[0], tokenizer.encode("]")[0]
    unembed[round_, OUT_BRACKET], unembed[square, OUT_BRACKET] = READ, -READ
