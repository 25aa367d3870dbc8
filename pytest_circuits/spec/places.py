"""Places: where in a prompt a node counts, as in `5.attn.head at cue`, by roles of the template.

Haklay et al. 2025, "Position-aware Automatic Circuit Discovery", tell the tokens of prompts of any
length apart by what they are there for; here the template says that already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytest_circuits.spec.problems import Fault, listed, quoted, suggest
from pytest_circuits.spec.template import (
    cue_name,
    fit_prompt,
    hole_names,
    parse_template,
    shape_of,
    templates,
)
from pytest_circuits.spec.types import Behavior, Spec

CUE, LAST, TEXT = "cue", "last", "text"
OWN = {
    CUE: "the tokens of the cue",
    LAST: "the last token",
    TEXT: "every token that is of no slot, not of the cue and not the last",
}  # roles that every template has
_AT, _ELSEWHERE = " at ", " elsewhere"


def site_of(name: str) -> str:
    """The hook point that a name with or without a place is about."""
    return name.partition(_AT)[0].removesuffix(_ELSEWHERE)


def role_of(name: str) -> str:
    """The role of the tokens at which a name with a place counts; empty: it has none."""
    return name.partition(_AT)[2]


def divided(site: str, roles: Iterable[str]) -> tuple[str, ...]:
    """The names of a hook point at the tokens of each of some roles, and at all others."""
    return (*(f"{site}{_AT}{role}" for role in roles), f"{site}{_ELSEWHERE}")


def roles_at(nodes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The roles that are named at each hook point, sorted; of those where any is."""
    found: dict[str, set[str]] = {}
    for name in nodes:
        if role := role_of(name):
            found.setdefault(site_of(name), set()).add(role)
    return {site: tuple(sorted(roles)) for site, roles in sorted(found.items())}


def divide(nodes: Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    """Nodes with each hook point at which places are named divided by them.

    A node without a place counts at each of them.
    """
    roles, found = roles_at(nodes), dict[str, tuple[int, ...]]()
    for name, channels in nodes.items():
        for each in divided(name, roles[name]) if name in roles else (name,):
            found[each] = (*found.get(each, ()), *channels)
    return found


def undivide(nodes: Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    """The same the way back: a node that counts at all places of its hook point has none."""
    held = {name: tuple(channels) for name, channels in nodes.items()}
    roles, found = roles_at(held), dict[str, tuple[int, ...]]()
    for name, channels in held.items():
        site = site_of(name)
        every = [held.get(each, ()) for each in divided(site, roles[site])] if site in roles else []
        for channel in channels:
            where = site if all(channel in some for some in every) else name
            known = found.get(where, ())
            found[where] = known if channel in known else (*known, channel)
    return found


def check_places(spec: Spec) -> Iterator[Fault]:
    """Give the faults of places: roles that no template or not every one has, and what is refused.

    That prompts are clear about them, only a tokenizer knows.
    """
    places = [name for name in spec.nodes if role_of(name)]
    for name in spec.nodes:
        if name not in places and name != site_of(name):
            hint = f"'{site_of(name)} at ROLE' is one, or {quoted(site_of(name))} for all tokens"
            yield Fault(("nodes", name), f"{quoted(name)} is no place", hint, key=True)
    for name in places:
        loc, role = ("nodes", name), role_of(name)
        if found := _no_role(role, spec.behavior):
            yield Fault(loc, *found, key=True)
        twice = {*spec.nodes[name]} & {*spec.nodes.get(site_of(name), ())}
        for channel in sorted(twice):
            text = f"node {channel} of {quoted(site_of(name))} counts at all tokens already"
            yield Fault((*loc, spec.nodes[name].index(channel)), text, "keep one of the two")
    if places and spec.edges is not None:
        text = f"edges carry all tokens alike, and nodes such as {quoted(places[0])} do not"
        yield Fault(("edges",), text, "leave 'edges' out, or the places of the nodes", key=True)
    if places and spec.claims.stable and spec.claims.stable.structure:
        text = f"a search finds nodes that count at all tokens, unlike {quoted(places[0])}"
        yield Fault(("claims", "stable", "structure"), text, "leave 'structure' out", key=True)
    for index, item in enumerate(spec.disambiguate if places else ()):
        if fit_prompt(spec.behavior, item.prompt) is None:
            text = f"{quoted(item.prompt)} does not fit the prompt: where is {quoted(places[0])}?"
            hint = f"prompts look like {shape_of(spec.behavior)}"
            yield Fault(("disambiguate", index, "prompt"), text, hint)


def _no_role(role: str, behavior: Behavior) -> tuple[str, str] | None:
    """Say why a role is none, or not clear, and what to do about it."""
    cue = cue_name(behavior)
    if role in OWN:
        if role in behavior.slots or (role == cue != CUE):
            both = f"{quoted(role)} is {OWN[role]}, and a slot as well"
            return both, "give the slot another name"
        return None
    if role == cue:
        return f"{quoted(role)} is the cue", f"write 'at {CUE}'"
    known = [*OWN, *behavior.slots]
    if role not in behavior.slots:
        text = f"the prompt has no {quoted(role)}, at which a node could count"
        return text, suggest(role, known) or f"known: {listed(known)}"
    for name, template in templates(behavior).items():
        if role not in hole_names(parse_template(template)):
            text = (
                f"template {quoted(name)} has no slot {quoted(role)}, at which a node could count"
            )
            return text, "name slots that every template has"
    return None
