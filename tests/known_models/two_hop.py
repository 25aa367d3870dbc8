"""Two-hop lookups: where is Anna, and what is the weather there?

A link is one word that says where somebody is ("annaparis"), a fact one that says what the weather
is somewhere ("parisrain"): key and value lie in the embedding of one token. The prompt has both
facts; which of them the answer comes from, the link decides. At the last word, "anna", a head of
the first layer looks for her link (query: anna is asked for; key: a link of hers) and copies the
place. A head of the second layer has the place as its query, matches it with the places of the
facts (key) and copies the weather (value).

Beside it: other people's links, facts of other places with the same weather, a match of another
person in the same head, a head that says in one hop, very quietly, what the two say.
"""

from __future__ import annotations

from functools import cache
from itertools import product

from tests.known_models import decoys
from tests.known_models.answer import KnownAnswer
from tests.known_models.copier import merged
from tests.known_models.draft import D_HEAD, MARK, Draft, head, output
from tests.known_models.text import ReferenceText, generator, pick, read, some

PEOPLE, PLACES, WEATHER = ("anna", "ben", "carla"), ("paris", "rome", "oslo"), ("rain", "sun")
LINKS = tuple(person + place for person, place in product(PEOPLE, PLACES))
FACTS = tuple(place + weather for place, weather in product(PLACES, WEATHER))
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")
SIGN = {"paris": 1.0, "rome": -1.0, "oslo": 0.0, "rain": 1.0, "sun": -1.0}
PLACE_OF_LINK = {person + place: SIGN[place] for person, place in product(PEOPLE, PLACES)}
PLACE_OF_FACT = {place + weather: SIGN[place] for place, weather in product(PLACES, WEATHER)}
WEATHER_OF_FACT = {place + weather: SIGN[weather] for place, weather in product(PLACES, WEATHER)}
RAIN, SUN = " rain", " sun"
# Wide enough that most random circuits of the shape do not hold a node of the true one by chance,
# and controls enough to show it.
WIDTH, PROTOCOL = 96, "{controls: 199}"
BEHAVIOR = (
    '  prompt: "so {facts} {stray} {words} {cue} {other} anna"\n  slots:\n'
    '    facts: {choice: ["parisrain romesun", "romesun parisrain"]}\n'
    "    stray: {choice: [oslorain, oslosun]}\n"
    "    other: {choice: [benparis, benrome, carlaparis, carlarome]}\n"
    f"    words: {{words: {{from: [{', '.join(WORDS)}], count: [5, 9]}}}}\n"
    '  contrast:\n    cue:\n      annaparis: " rain"\n      annarome: " sun"\n'
)


def two_hop_lookup(seed: int) -> KnownAnswer:
    """One path through two heads, the second aimed by what the first has written."""
    draft = Draft(_text(), seed, width=WIDTH)
    place, out = draft.channels.pop(), draft.channels.pop()
    finds_link = head(
        draft,
        layer=0,
        query=draft.mark({"anna": 1.0}),
        key=draft.mark(_links_of("anna")),
        value=draft.mark(PLACE_OF_LINK),
        write=place,
        size=MARK,
    )
    finds_fact = head(
        draft,
        layer=1,
        query=place,
        key=draft.mark(PLACE_OF_FACT),
        value=draft.mark(WEATHER_OF_FACT),
        write=out,
        size=1.0,
    )
    draft.prefer(out, answer=RAIN, foil=SUN, size=draft.about(1.9))
    decoys.second_channel(
        draft,
        layer=0,
        of=finds_link["0.attn.v"][0] // D_HEAD * D_HEAD,
        query=draft.mark({"ben": 1.0}),
        key=draft.mark(_links_of("ben")),
    )
    hers, told = _links_of("anna"), {"annaparis": 1.0, "annarome": -1.0}
    decoys.weak_copy(
        draft, layer=draft.below(2), detect=hers, kind=told, answer=RAIN, foil=SUN, size=1.5
    )
    nowhere = decoys.to_nowhere(draft, layer=draft.below(2), detect=hers, kind=told)
    decoys.idle_neurons(draft, layer=0, read=(place,))
    decoys.idle_neurons(draft, layer=1, read=(place, out, nowhere))
    decoys.bias(draft, last=PEOPLE, answer=RAIN, foil=SUN)
    decoys.noise(draft)
    path = merged(finds_link, finds_fact, output(out))
    return KnownAnswer(
        "two_hop_lookup", BEHAVIOR, path, (path,), draft.module(), draft.text, protocol=PROTOCOL
    )


def _links_of(person: str) -> dict[str, float]:
    return {person + place: 1.0 for place in PLACES}


@cache
def _text() -> ReferenceText:
    """Links, facts and questions with their answers, in many orders."""
    source = generator(3)
    lines = []
    for _ in range(600):
        facts = f"{pick(FACTS, source)} {pick(FACTS, source)} {pick(FACTS, source)}"
        links = f"{pick(LINKS, source)} {some(WORDS, 0, 2, source)} {pick(LINKS, source)}"
        question = f"{pick(PEOPLE, source)} {pick(WEATHER, source)}"
        lines.append(f"so {facts} {some(WORDS, 2, 9, source)} {links} {question}\n")
    return read(lines, words=(*LINKS, *FACTS, *WORDS, *PEOPLE, *WEATHER))
