"""What a model of a known circuit does besides: nothing that the circuit needs, much to mislead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tests.known_models.draft import D_HEAD, Draft, aim, fit_embeddings, head, neuron

WEAK = 0.03  # of what the path writes


def to_nowhere(
    draft: Draft, *, layer: int, detect: Mapping[str, float], kind: Mapping[str, float]
) -> int:
    """A head that finds the cue as the path does and writes it, in full, where nothing reads."""
    channel = draft.channels.pop()
    head(
        draft,
        layer=layer,
        key=draft.mark(detect),
        value=draft.mark(kind),
        write=channel,
        size=1.0,
    )
    return channel


def idle_neurons(draft: Draft, *, layer: int, read: Sequence[int]) -> None:
    """Neurons that carry the sign of each channel, and write where nothing reads."""
    write = draft.channels.pop()
    for channel in read:
        for sign in (1.0, -1.0):
            neuron(draft, layer=layer, read=channel, write=write, gain=sign, above=0.0, size=sign)


def bias(draft: Draft, *, last: Sequence[str], answer: str, foil: str) -> None:
    """A channel of the last words that adds to one of the two answers, whichever is right.

    It is zero on average over the text, so that its ablation prefers neither.
    """
    channel = draft.mark(dict.fromkeys(last, 1.0))
    column = draft.embed[:, channel]
    column -= (draft.text.share * column).sum()
    draft.prefer(channel, answer=answer, foil=foil, size=draft.about(0.5))


def weak_copy(
    draft: Draft,
    *,
    layer: int,
    detect: Mapping[str, float],
    kind: Mapping[str, float],
    answer: str,
    foil: str,
    size: float,
) -> None:
    """A head that finds the cue and hardly speaks for its answer."""
    channel = draft.channels.pop()
    head(
        draft,
        layer=layer,
        key=draft.mark(detect),
        value=draft.mark(kind),
        write=channel,
        size=WEAK,
    )
    draft.prefer(channel, answer=answer, foil=foil, size=size)


def noise(draft: Draft) -> None:
    """Fill all that is left with activity that varies with the text and is correlated.

    It stays in its own channels, heads and neurons; the unembedding reads a little of it.
    """
    channels = draft.channels
    factors = draft.normal(len(draft.embed), 4) @ draft.normal(4, len(channels))  # [V, C]
    draft.embed[:, channels] = 0.5 * factors + draft.normal(len(draft.embed), len(channels))
    draft.embed[:, channels] -= draft.text.share @ draft.embed[:, channels]
    fit_embeddings(draft, channels)
    draft.unembed[:, channels] = 0.02 * draft.normal(len(draft.unembed), len(channels))
    for layer in range(len(draft.heads)):
        _noise_layer(draft, layer, channels)


def _noise_layer(draft: Draft, layer: int, channels: Sequence[int]) -> None:
    first = torch.tensor(draft.heads[layer]) * D_HEAD
    in_heads = (first[:, None] + torch.arange(D_HEAD)).flatten().tolist()
    neurons = draft.neurons[layer]
    for name, rows, columns, size in (
        (f"attn.{layer}.q.weight", in_heads, channels, 0.3),
        (f"attn.{layer}.k.weight", in_heads, channels, 0.3),
        (f"attn.{layer}.v.weight", in_heads, channels, 0.3),
        (f"attn.{layer}.out.weight", channels, in_heads, 0.03),
        (f"mlp.{layer}.up.weight", neurons, channels, 0.2),
        (f"mlp.{layer}.down.weight", channels, neurons, 0.02),
    ):
        block = torch.tensor(list(rows))[:, None], torch.tensor(list(columns))[None, :]
        draft.state[name][block] = size * draft.normal(len(rows), len(columns))


def second_channel(draft: Draft, *, layer: int, of: int, key: int, query: int) -> None:
    """Let another channel of a head that is in use match another query with other keys."""
    used = draft.state[f"attn.{layer}.k.weight"][of : of + D_HEAD].abs().sum(1)  # [E]
    free = [i for i in draft.shuffled(D_HEAD) if used[i] == 0]
    aim(draft, layer=layer, channel=of + free[0], key=key, query=query, sharp=9.0)
