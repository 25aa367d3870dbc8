"""Bracket counters: as many brackets close a list as are still open.

A head attends evenly to all tokens and averages opens minus closes; a neuron fires when the average
is above that of one open bracket in the shortest prompt and below that of two in the longest. What
it writes outweighs a constant preference for closing one bracket. (Gao et al. 2025 found the same
algorithm in a trained model, and that longer prompts spoil it; these are all of about one length.)

The rest of the model lengthens the residual stream, and so shortens the average, by an eighth, and
with an unlucky part of it ablated by up to 40 %. The answer must not hang on that: the equals sign
of every prompt counts as half a closing bracket, which sets one and two far apart.
"""

from __future__ import annotations

from functools import cache

from tests.known_models import decoys
from tests.known_models.answer import KnownAnswer
from tests.known_models.copier import Circuit, merged
from tests.known_models.draft import Draft, head, neuron, output
from tests.known_models.text import ReferenceText, generator, pick, read, some

NAMES = ("label", "name", "title", "value")
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")
ONE, TWO = " ]", " ]]"
CLOSED = ("[ kappa ]", "[ sigma ]", "omega omega theta", "theta kappa sigma")
BEHAVIOR = (
    '  prompt: "{name} = {cue} {inner} {words}"\n  slots:\n'
    f"    name: {{choice: [{', '.join(NAMES)}]}}\n"
    f"    inner: {{choice: [{', '.join(repr(text) for text in CLOSED)}]}}\n"
    f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [8, 9]}}}}\n"
    '  contrast:\n    cue:\n      "[": " ]"\n      "[ [": " ]]"\n'
)
OTHER = (
    '  prompt: "{name} = {cue}{words}"\n  slots:\n'
    f"    name: {{choice: [{', '.join(NAMES)}]}}\n"
    f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [8, 9]}}}}\n"
    "  contrast:\n    cue:\n      \"'\": \"'\"\n      '\"': '\"'\n"
)
OPEN = {"[": 1.0, "]": -1.0, "]]": -2.0, "=": -0.5}
PER_BRACKET = 9.0  # what the head would write, were all tokens open brackets: 4.5 / 14, 13.5 / 16
THRESHOLD = 0.36  # of the neuron: above the most of one bracket, far below the least of two
CONSTANT = 3.6  # nats, by which one closing bracket is preferred as long as the neuron is silent


def bracket_counter(seed: int) -> KnownAnswer:
    """One path: head and neuron, in one layer or in two."""
    draft = Draft(_text(), seed)
    layer = draft.below(2)
    path, depth, out = _path(draft, layers=(layer, layer + draft.below(2 - layer)), share=1.0)
    draft.prefer(out, answer=TWO, foil=ONE, size=draft.about(5.0))
    for word, sign in ((ONE, 0.5), (TWO, -0.5)):
        (index,) = draft.text.tokenizer.encode(word)
        draft.state["unembed.bias"][index] = sign * CONSTANT
    _, weak_depth, weak = _path(draft, layers=(0, 1), share=decoys.WEAK)
    draft.prefer(weak, answer=TWO, foil=ONE, size=4.0)
    decoys.idle_neurons(draft, layer=1, read=(depth, weak_depth, out))
    decoys.bias(draft, last=WORDS, answer=TWO, foil=ONE)
    _second_behavior(draft)
    decoys.noise(draft)
    return KnownAnswer(
        "bracket_counter", BEHAVIOR, path, (path,), draft.module(), draft.text, other=OTHER
    )


def _path(draft: Draft, *, layers: tuple[int, int], share: float) -> tuple[Circuit, int, int]:
    depth, out = draft.channels.pop(), draft.channels.pop()
    counted = draft.mark(OPEN, spread=0.0)
    average = head(draft, layer=layers[0], value=counted, write=depth, size=PER_BRACKET)
    fires = neuron(
        draft,
        layer=layers[1],
        read=depth,
        write=out,
        gain=draft.about(8.0),
        above=THRESHOLD,
        size=0.8 * share,
    )
    return merged(average, fires, output(out)), depth, out


def _second_behavior(draft: Draft) -> None:
    """Quotes: the one that opened a string closes it."""
    out = draft.channels.pop()
    key, value = draft.mark({"'": 1.0, '"': 1.0}), draft.mark({"'": 1.0, '"': -1.0})
    head(draft, layer=draft.below(2), key=key, value=value, write=out, size=1.0)
    draft.prefer(out, answer="'", foil='"', size=1.5)


@cache
def _text() -> ReferenceText:
    """Lists and strings, nested or not, closed or not."""
    source = generator(2)
    lines = []
    for i in range(500):
        name, words, more = (
            pick(NAMES, source),
            some(WORDS, 2, 9, source),
            some(WORDS, 1, 4, source),
        )
        lines.append(
            (
                f"{name} = [ {words} ]\n",
                f"{name} = [ {more} [ {words} ]]\n",
                f"{name} = [ [ {more} ] {words} ]\n",
                f"{name} = '{words}'\n",
                f'{name} = "{words}"\n',
                f"{words} = {name}\n",
            )[i % 6]
        )
    return read(lines, words=(*WORDS, *NAMES, "[", "]", "]]"))
