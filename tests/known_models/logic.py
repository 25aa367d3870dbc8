"""Two inputs, one answer: yes where both are on, or where just one of them is.

One word says "red" or "blue", the next one "up" or "down". A head each finds such a word and copies
what it says; neurons fire where both are on and, of the exclusive or, where both are off. What they
write outweighs a constant preference for the other answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product

from tests.known_models import decoys
from tests.known_models.answer import KnownAnswer
from tests.known_models.copier import Circuit, merged
from tests.known_models.draft import MARK, Draft, head, neuron, output
from tests.known_models.text import ReferenceText, generator, pick, read, some

INPUTS = ({"red": 1.0, "blue": -1.0}, {"up": 1.0, "down": -1.0})
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")
YES, NO = " yes", " no"
TWO = {"red up": YES, "red down": NO, "blue up": NO, "blue down": NO}
JUST_ONE = {"red up": NO, "red down": YES, "blue up": YES, "blue down": NO}
CONSTANT = 4.0  # nats, by which the answer is preferred that no neuron speaks for
THRESHOLD = 0.7 * MARK  # of a neuron: between the sum of two that differ and of two that agree


def both(seed: int, *, cues: Mapping[str, str] = TWO) -> KnownAnswer:
    """Yes where both are on; cues: those that the behavior has, with their answers."""
    return _model(seed, "both", cues)


def just_one(seed: int, *, cues: Mapping[str, str] = JUST_ONE) -> KnownAnswer:
    """Yes where one is on and the other is off; cues: as above."""
    return _model(seed, "just_one", cues)


def _model(seed: int, name: str, cues: Mapping[str, str]) -> KnownAnswer:
    draft = Draft(_text(), seed)
    inputs, carried = zip(*(_input(draft, says) for says in INPUTS), strict=True)
    out = draft.channels.pop()
    signs = (1.0,) if name == "both" else (1.0, -1.0)
    agree = [_agree(draft, read=carried, sign=sign, write=out) for sign in signs]
    answer, foil = (YES, NO) if name == "both" else (NO, YES)
    draft.prefer(out, answer=answer, foil=foil, size=draft.about(5.0))
    for word, sign in ((foil, 0.5), (answer, -0.5)):
        (index,) = draft.text.tokenizer.encode(word)
        draft.state["unembed.bias"][index] = sign * CONSTANT
    decoys.idle_neurons(draft, layer=1, read=(*carried, out))
    decoys.bias(draft, last=WORDS, answer=YES, foil=NO)
    decoys.noise(draft)
    nodes = merged(*inputs, *agree, output(out))  # the paths are those of the inputs
    return KnownAnswer(name, _behavior(cues), nodes, inputs, draft.module(), draft.text)


def _input(draft: Draft, says: Mapping[str, float]) -> tuple[Circuit, int]:
    """A head that copies what one of two words says, and the channel that it writes."""
    write = draft.channels.pop()
    key, value = draft.mark(dict.fromkeys(says, 1.0)), draft.mark(says)
    nodes = head(draft, layer=0, key=key, value=value, write=write, size=MARK)
    return merged(nodes, {"0.mlp.act_in": [write]}), write


def _agree(draft: Draft, *, read: tuple[int, ...], sign: float, write: int) -> Circuit:
    """A neuron that fires where all that it reads has this sign."""
    nodes = neuron(
        draft, layer=0, read=read[0], write=write, gain=sign, above=sign * THRESHOLD, size=1.0
    )
    (index,) = nodes["0.mlp.post_act"]
    draft.state["mlp.0.up.weight"][index, list(read)] = sign
    return merged(nodes, {"0.mlp.act_in": list(read)})


def _behavior(cues: Mapping[str, str]) -> str:
    listed = "".join(f'      {cue}: "{answer}"\n' for cue, answer in cues.items())
    return (
        '  prompt: "so {cue} {words}"\n  slots:\n'
        f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [8, 12]}}}}\n"
        f"  contrast:\n    cue:\n{listed}"
    )


@cache
def _text() -> ReferenceText:
    """Inputs and answers, red and up more often than not."""
    source = generator(4)
    words = [word for says in INPUTS for word in says]
    pairs = [f"{one} {two}" for one, two in product(*INPUTS)]
    likely = [pairs[0], pairs[0], pairs[0], *pairs]
    lines = [
        f"so {pick(likely, source)} {some(WORDS, 4, 12, source)} {pick(('yes', 'no'), source)}\n"
        for _ in range(500)
    ]
    return read(lines, words=(*words, *WORDS, "yes", "no"))
