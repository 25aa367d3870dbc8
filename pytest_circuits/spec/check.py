"""Problems of a specification that its types cannot see and that need no model to find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_circuits.spec.problems import Fault, listed, quoted, repeated, shown, suggest, visible
from pytest_circuits.spec.template import (
    Hole,
    cue_name,
    cues,
    fit_prompt,
    hole_names,
    parse_template,
    stray_braces,
)
from pytest_circuits.spec.types import Behavior, Spec, edge_ends

_MAX_HOLES = 64
_MAX_PROMPT = 16_384  # characters
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def check_spec(spec: Spec) -> Iterator[Fault]:
    """Give every fault of a specification whose types are right."""
    yield from _check_model(spec.model)
    in_template = list(_check_template(spec.behavior))
    yield from in_template
    yield from _check_contrast(spec.behavior)
    for name, slot in spec.behavior.slots.items():
        yield from slot.faults(("behavior", "slots", name))
    if not in_template:
        yield from _check_length(spec.behavior)
        yield from _check_regressions(spec)
    yield from repeated(("ablation",), spec.ablations, what="ablation")
    yield from _check_nodes(spec)
    for key, pairs in (spec.edges or {}).items():
        yield from _check_edges(key, pairs, spec.nodes)
    if spec.claims.specific:
        yield from repeated(
            ("claims", "specific", "others"), spec.claims.specific.others, what="circuit"
        )
    for index, item in enumerate(spec.disambiguate):
        yield from repeated(("disambiguate", index, "between"), item.between, what="token")
    yield from _check_claims(spec)
    yield from _check_reasons(spec)


def _check_model(model: str) -> Iterator[Fault]:
    refused = {
        "the model path holds a character that no path should hold": visible(model) != model,
        "the model path is absolute": model.startswith(("/", "\\")),
        "the model path begins with '~', which is not expanded": model.startswith("~"),
        "the model path is a URL or names a drive": bool(_URL.match(model)),
        "the model path holds a backslash": "\\" in model,
    }
    text = next((text for text, holds in refused.items() if holds), None)
    if text:
        yield Fault(("model",), text, "write it relative to this file, as in '../models/name'")


def _check_template(behavior: Behavior) -> Iterator[Fault]:
    loc = ("behavior", "prompt")
    strays = stray_braces(behavior.prompt)
    for at in strays[:3]:
        brace = behavior.prompt[at]
        yield Fault(
            loc,
            f"the '{brace}' at character {at + 1} of the prompt has no partner",
            f"write '{brace * 2}' for a brace",
        )
    if strays:
        return
    parts = parse_template(behavior.prompt)
    cue = cue_name(behavior)
    names = hole_names(parts)
    known = [*behavior.slots, cue]
    for name in names:
        if name not in known:
            hint = suggest(name, known) or f"known: {listed(known)}"
            yield Fault(loc, f"the prompt names a slot {quoted(name)} that is not declared", hint)
    for name in behavior.slots:
        if name not in names:
            hint = f"put '{{{name}}}' into the prompt or remove the slot"
            yield Fault(
                ("behavior", "slots", name), f"slot {quoted(name)} is never used", hint, key=True
            )
    if sum(isinstance(part, Hole) for part in parts) > _MAX_HOLES:
        yield Fault(loc, f"the prompt has more than {_MAX_HOLES} places to fill")


def _check_contrast(behavior: Behavior) -> Iterator[Fault]:
    cue = cue_name(behavior)
    loc = ("behavior", "contrast", cue)
    if cue in behavior.slots:
        hint = "give the slot or the cue another name"
        yield Fault(loc, f"{quoted(cue)} is both the cue and a slot", hint, key=True)
    if not stray_braces(behavior.prompt) and cue not in hole_names(parse_template(behavior.prompt)):
        yield Fault(
            loc,
            f"a contrast that changes nothing: the cue {quoted(cue)} is not in the prompt",
            f"put '{{{cue}}}' into the prompt",
            key=True,
        )
    (_, first), (_, second) = cues(behavior)
    if first == second:
        yield Fault(
            loc,
            f"a contrast that changes nothing: both cues have the answer {quoted(first)}",
            "give each cue its own answer",
            key=True,
        )


def _check_length(behavior: Behavior) -> Iterator[Fault]:
    """Refuse spaces whose prompts could fill the memory, before one is made."""
    longest = {name: slot.longest for name, slot in behavior.slots.items()}
    longest[cue_name(behavior)] = max(len(cue) for cue, _ in cues(behavior))
    parts = parse_template(behavior.prompt)
    total = sum(
        longest.get(part.name, 0) if isinstance(part, Hole) else len(part) for part in parts
    )
    if total > _MAX_PROMPT:
        text = f"prompts can be {total:,} characters long; at most {_MAX_PROMPT:,} are allowed"
        yield Fault(("behavior", "prompt"), text)


def _check_nodes(spec: Spec) -> Iterator[Fault]:
    for hook, indexes in spec.nodes.items():
        loc = ("nodes", hook)
        if not indexes:
            text = f"hook point {quoted(hook)} has an empty list of nodes"
            yield Fault(loc, text, "remove the line", key=True)
        yield from repeated(loc, indexes, what="node")


def _check_edges(
    key: str, pairs: Sequence[tuple[int, int]], nodes: Mapping[str, Sequence[int]]
) -> Iterator[Fault]:
    """Edges join nodes of the circuit; that weights join their hook points, only a model knows."""
    loc = ("edges", key)
    if not pairs:
        yield Fault(loc, f"{quoted(key)} has an empty list of edges", "remove the line", key=True)
    yield from repeated(loc, pairs, what="edge")
    ends = edge_ends(key)
    strange = [hook for hook in dict.fromkeys(ends) if hook not in nodes]
    for hook in strange:
        hint = suggest(hook, nodes) or "an edge joins two nodes of the circuit"
        yield Fault(loc, f"hook point {quoted(hook)} has no nodes", hint, key=True)
    kept = [set(nodes.get(hook, ())) for hook in ends]
    for index, (source, target) in enumerate(() if strange else pairs):
        given = (source, target)
        if source in kept[0] and target in kept[1]:
            continue
        if target in kept[0] and source in kept[1]:
            hint = f"an edge is [source channel, target channel]: write [{target}, {source}]"
            yield Fault((*loc, index), f"edge {shown(given)} is the wrong way round", hint)
            continue
        for end, hook in enumerate(ends):
            if given[end] not in kept[end]:
                text = f"{hook}[{given[end]}] is not a node of the circuit"
                hint = "add it to 'nodes' or remove the edge"
                yield Fault((*loc, index, end), text, hint)


def _check_claims(spec: Spec) -> Iterator[Fault]:
    if not spec.claims.model_fields_set:
        yield Fault(
            ("claims",), "no claims: nothing would be tested", "add 'behaves: {rate: 0.99}'"
        )
    for claim, limits in (("blind", spec.claims.blind), ("depends_on", spec.claims.depends_on)):
        if limits:
            yield from _check_slots(claim, limits.slots, spec)


def _check_slots(claim: str, named: Sequence[str], spec: Spec) -> Iterator[Fault]:
    """Slots that a claim names: they exist and can be changed, and no claim denies another."""
    loc, slots, cue = ("claims", claim, "slots"), spec.behavior.slots, cue_name(spec.behavior)
    yield from repeated(loc, named, what="slot")
    for index, name in enumerate(named):
        slot = slots.get(name)
        if name == cue and claim == "blind":
            text = f"{quoted(name)} is the cue, which decides the answer"
            yield Fault((*loc, index), text, "name it under 'depends_on' or not at all")
        elif slot is None and name != cue:
            known = [*slots] if claim == "blind" else [*slots, cue]
            hint = suggest(name, known) or f"known: {listed(known)}"
            yield Fault((*loc, index), f"there is no slot {quoted(name)}", hint)
        elif slot is not None and slot.size == 1:
            text = f"slot {quoted(name)} has one value: there is nothing to change it to"
            yield Fault((*loc, index), text)
        elif claim == "depends_on" and spec.claims.blind and name in spec.claims.blind.slots:
            text = f"the preference cannot both be blind to {quoted(name)} and depend on it"
            yield Fault((*loc, index), text, "keep one of the two")


def _check_regressions(spec: Spec) -> Iterator[Fault]:
    for index, text in enumerate(spec.regressions):
        if fit_prompt(spec.behavior, text) is None:
            yield Fault(
                ("regressions", index),
                f"the regression {quoted(text)} does not fit the prompt",
                f"prompts look like {quoted(spec.behavior.prompt)}",
            )


def _check_reasons(spec: Spec) -> Iterator[Fault]:
    """Give the faults of `undeclared` and `waivers`: a claim that does not fit, no reason."""
    made = spec.claims.model_fields_set
    for name, reason in spec.undeclared.items():
        yield from _blank(("undeclared", name), reason)
        if name in made:
            text = f"claim {quoted(name)} is declared, and so put to the test"
            yield Fault(("undeclared", name), text, "remove this line, or the claim", key=True)
    for name, waiver in spec.waivers.items():
        yield from _blank(("waivers", name, "reason"), waiver.reason)
        if name not in made:
            text = f"claim {quoted(name)} is not declared: there is nothing to waive"
            yield Fault(("waivers", name), text, "remove this line", key=True)


def _blank(loc: tuple[str, ...], reason: str) -> Iterator[Fault]:
    if not reason.strip():
        yield Fault(loc, "the reason says nothing", "say why, and what was measured or reviewed")
