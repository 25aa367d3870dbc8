"""Problems of a specification that its types cannot see and that need no model to find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_circuits.spec.places import check_places
from pytest_circuits.spec.problems import Fault, listed, quoted, repeated, shown, suggest, visible
from pytest_circuits.spec.template import (
    Hole,
    answers,
    cue_name,
    cues,
    fit_prompt,
    hole_names,
    parse_template,
    shape_of,
    stray_braces,
    template_loc,
    templates,
)
from pytest_circuits.spec.types import Behavior, Spec, edge_ends

_MAX_HOLES = 64
_MAX_PROMPT = 16_384  # characters
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def check_spec(spec: Spec) -> Iterator[Fault]:
    """Give every fault of a specification whose types are right."""
    yield from _check_model(spec.model)
    in_templates = list(_check_templates(spec.behavior))
    yield from in_templates
    yield from _check_contrast(spec)
    for name, slot in spec.behavior.slots.items():
        yield from slot.faults(("behavior", "slots", name))
    if not in_templates:
        yield from _check_length(spec.behavior)
        yield from _check_regressions(spec)
    yield from repeated(("ablation",), spec.ablations, what="ablation")
    yield from _check_nodes(spec)
    if not in_templates:
        yield from check_places(spec)
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


def _check_templates(behavior: Behavior) -> Iterator[Fault]:
    holes: dict[str, list[str]] = {}  # of each template whose braces are right
    for name, text in templates(behavior).items():
        strays = stray_braces(text)
        for at in strays[:3]:
            yield Fault(
                template_loc(behavior, name),
                f"the '{text[at]}' at character {at + 1} of {_called(behavior, name)} has no "
                "partner",
                f"write '{text[at] * 2}' for a brace",
            )
        if not strays:
            holes[name] = hole_names(parse_template(text))
            yield from _check_holes(behavior, name)
    if len(holes) < len(behavior.templates):
        return
    used = {hole for named in holes.values() for hole in named}
    for slot in behavior.slots:
        if slot not in used:
            hint = f"put '{{{slot}}}' into the prompt or remove the slot"
            yield Fault(
                ("behavior", "slots", slot), f"slot {quoted(slot)} is never used", hint, key=True
            )
    yield from _check_alike(behavior, holes)


def _called(behavior: Behavior, name: str) -> str:
    return "the prompt" if len(behavior.templates) == 1 else f"template {quoted(name)}"


def _check_holes(behavior: Behavior, name: str) -> Iterator[Fault]:
    loc, what = template_loc(behavior, name), _called(behavior, name)
    parts = parse_template(behavior.templates[name])
    known = [*behavior.slots, cue_name(behavior)]
    for hole in hole_names(parts):
        if hole not in known:
            hint = suggest(hole, known) or f"known: {listed(known)}"
            yield Fault(loc, f"{what} names a slot {quoted(hole)} that is not declared", hint)
    if sum(isinstance(part, Hole) for part in parts) > _MAX_HOLES:
        yield Fault(loc, f"{what} has more than {_MAX_HOLES} places to fill")


def _check_alike(behavior: Behavior, holes: Mapping[str, list[str]]) -> Iterator[Fault]:
    """Templates say the same in other words: no two are equal, and any two share a slot."""
    seen: dict[str, str] = {}  # names by text
    for name in holes:
        loc, text = template_loc(behavior, name), behavior.templates[name]
        if text in seen:
            yield Fault(
                loc,
                f"template {quoted(name)} is the same text as {quoted(seen[text])}",
                "keep one of them",
            )
            continue
        for other in seen.values() if behavior.slots else ():
            if not set(holes[name]) & set(holes[other]) & set(behavior.slots):
                yield Fault(
                    loc,
                    f"template {quoted(name)} shares no slot with {quoted(other)}: it is no other "
                    "wording of it",
                    "put the same slots into both, or give it a specification of its own",
                )
                break
        seen[text] = name


def _check_contrast(spec: Spec) -> Iterator[Fault]:
    behavior = spec.behavior
    cue = cue_name(behavior)
    loc = ("behavior", "contrast", cue)
    if cue in behavior.slots:
        hint = "give the slot or the cue another name"
        yield Fault(loc, f"{quoted(cue)} is both the cue and a slot", hint, key=True)
    for name, text in templates(behavior).items():
        if not stray_braces(text) and cue not in hole_names(parse_template(text)):
            what = _called(behavior, name)
            yield Fault(
                loc if what == "the prompt" else template_loc(behavior, name),
                f"a contrast that changes nothing: the cue {quoted(cue)} is not in {what}",
                f"put '{{{cue}}}' into {'the prompt' if what == 'the prompt' else 'it'}",
                key=what == "the prompt",
            )
    first, *others = answers(behavior)
    if not others:
        both = "both" if len(cues(behavior)) == 2 else "all"
        yield Fault(
            loc,
            f"a contrast that changes nothing: {both} cues have the answer {quoted(first)}",
            "give each cue its own answer",
            key=True,
        )
    elif len(others) > 1 and spec.calibration is not None:
        yield Fault(
            ("calibration",),
            f"a calibration shifts a circuit towards one of two answers, and the contrast has "
            f"{1 + len(others)}: {listed(map(quoted, (first, *others)))}",
            "remove it, or make a specification of two answers",
            key=True,
        )


def _check_length(behavior: Behavior) -> Iterator[Fault]:
    """Refuse spaces whose prompts could fill the memory, before one is made."""
    longest = {name: slot.longest for name, slot in behavior.slots.items()}
    longest[cue_name(behavior)] = max(len(cue) for cue, _ in cues(behavior))
    for name, template in templates(behavior).items():
        total = sum(
            longest.get(part.name, 0) if isinstance(part, Hole) else len(part)
            for part in parse_template(template)
        )
        if total > _MAX_PROMPT:
            text = f"prompts can be {total:,} characters long; at most {_MAX_PROMPT:,} are allowed"
            yield Fault(template_loc(behavior, name), text)


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
                f"prompts look like {shape_of(spec.behavior)}",
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
