"""A head: its score, what it attends to, and the names of what it mixes."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_circuits.compile.folded_sublayers import FoldedAttention
from pytest_circuits.show.layout import aligned, listed, number, token, total, wrapped


def head_lines(attn: FoldedAttention, index: int, rows: list[tuple[str, list[str]]]) -> list[str]:
    """A head's kept channels, as `rows` have them, and the score that it gives a token."""
    (*terms, (constant, _)) = _score_terms(attn, index)
    score = total(terms, constant)
    if not any(coefficient for coefficient, _ in terms):
        score.append("for every token")
    sink = [] if attn.sink is None else [("sink", [number(float(attn.sink[index]))])]
    return aligned([*rows, ("score", score), *sink], indent=4)


def attends(tokens: Sequence[str], weights: Sequence[float], *, sink: bool) -> list[str]:
    """The attention of the last token of one prompt on each of its tokens."""
    shown = [f"{token(text)} {number(w)}" for text, w in zip(tokens, weights, strict=True)]
    left = [f"sink {number(1 - sum(weights))}"] if sink else []
    return wrapped(listed([*shown, *left]), "      ")


def _score_terms(attn: FoldedAttention, index: int) -> list[tuple[float, str]]:
    """Products of queries and keys, scaled; the last one is that of all constant channels."""
    q, k, _ = attn.slots
    width = q.template.shape[1]
    queries = dict(zip(q.index.tolist(), attn.points[0].kept, strict=True))
    keys = dict(zip(k.index.tolist(), attn.points[1].kept, strict=True))
    terms = []
    for slot in range(width):
        at = index * width + slot
        coefficient, names = attn.scale, []
        for point, slots, kept in (("q", q, queries), ("k", k, keys)):
            if at in kept:
                names.append(f"{point}[{kept[at]}]")
            else:
                coefficient *= float(slots.template[index, slot])
        terms.append((coefficient, " ".join(names)))
    return terms


def value_names(attn: FoldedAttention) -> list[str]:
    """What the heads mix, in the order of the columns that write it."""
    slots = attn.slots[2]
    width = slots.template.shape[1]
    names = [f"(what head {head}'s sink leaves)" for head in attn.heads for _ in range(width)]
    for at, channel in zip(slots.index.tolist(), attn.points[2].kept, strict=True):
        names[at] = f"seen v[{channel}]"
    return names
