"""Quote copiers: the quote that opened a string closes it.

A head looks for the opening quote (key), copies which of the two it is (value), and writes it where
the unembedding reads it. The redundant one does this twice, in two layers, on channels that have
nothing in common; the answer is the sum of both.
"""

from __future__ import annotations

from functools import cache

from tests.known_models import decoys
from tests.known_models.answer import KnownAnswer
from tests.known_models.copier import Circuit, merged
from tests.known_models.draft import Draft, head, output
from tests.known_models.text import ReferenceText, generator, pick, read, some

SINGLE, DOUBLE = "'", '"'
NAMES = ("label", "name", "title", "value")
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")
BEHAVIOR = (
    '  prompt: "{name} = {cue}{words}"\n  slots:\n'
    f"    name: {{choice: [{', '.join(NAMES)}]}}\n"
    f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [10, 14]}}}}\n"
    "  contrast:\n    cue:\n      \"'\": \"'\"\n      '\"': '\"'\n"
)
OTHER = BEHAVIOR.partition("    cue:")[0] + "    cue:\n      '(': ')'\n      '[': ']'\n"
QUOTE = {SINGLE: 1.0, DOUBLE: 1.0}
TYPE = {SINGLE: -1.0, DOUBLE: 1.0}
ONE_PATH, EACH_OF_TWO = 4.2, 2.0  # nats, by which a circuit of one path prefers the answer


def quote_copier(seed: int) -> KnownAnswer:
    """One path, in either layer."""
    draft = Draft(_text(), seed)
    path, out = _path(draft, layer=draft.below(2), size=draft.about(ONE_PATH))
    return _finished(draft, "quote_close", (path,), (out,))


def redundant_quote(seed: int) -> KnownAnswer:
    """Two paths: either prefers the answer every time, and only both are sure enough."""
    draft = Draft(_text(), seed)
    first, out = _path(draft, layer=0, size=EACH_OF_TWO)
    second, backup = _path(draft, layer=1, size=EACH_OF_TWO)
    return _finished(draft, "redundant_quote", (first, second), (out, backup))


def _path(draft: Draft, *, layer: int, size: float) -> tuple[Circuit, int]:
    key, value, out = draft.mark(QUOTE), draft.mark(TYPE, spread=0.02), draft.channels.pop()
    nodes = head(draft, layer=layer, key=key, value=value, write=out, size=1.0)
    draft.prefer(out, answer=DOUBLE, foil=SINGLE, size=0.375 * size)
    return merged(nodes, output(out)), out


def _finished(
    draft: Draft, name: str, paths: tuple[Circuit, ...], outs: tuple[int, ...]
) -> KnownAnswer:
    decoys.weak_copy(
        draft,
        layer=draft.below(2),
        detect=QUOTE,
        kind=TYPE,
        answer=DOUBLE,
        foil=SINGLE,
        size=1.5,
    )
    nowhere = decoys.to_nowhere(draft, layer=draft.below(2), detect=QUOTE, kind=TYPE)
    decoys.idle_neurons(draft, layer=1, read=(*outs, nowhere))
    decoys.bias(draft, last=WORDS, answer=DOUBLE, foil=SINGLE)
    _second_behavior(draft)
    decoys.noise(draft)
    return KnownAnswer(
        name, BEHAVIOR, merged(*paths), paths, draft.module(), draft.text, other=OTHER
    )


def _second_behavior(draft: Draft) -> None:
    """The same with round and square brackets."""
    out = draft.channels.pop()
    key, value = draft.mark({"(": 1.0, "[": 1.0}), draft.mark({"(": 1.0, "[": -1.0})
    head(draft, layer=draft.below(2), key=key, value=value, write=out, size=1.0)
    draft.prefer(out, answer=")", foil="]", size=1.5)


@cache
def _text() -> ReferenceText:
    """Names, strings and lists; every token of the behavior in and out of its pattern."""
    source = generator(1)
    lines = []
    for i in range(500):
        name, words = pick(NAMES, source), some(WORDS, 2, 14, source)
        start, end = ((SINGLE, SINGLE), (DOUBLE, DOUBLE), ("(", ")"), ("[", "]"))[i % 4]
        lines.append(f"{name} = {start}{words}{end}\n{pick(WORDS, source)} = {name}\n")
    return read(lines, words=(*WORDS, *NAMES))
