"""Prompt templates: literal text with `{name}` holes, nothing else; `{{` and `}}` are braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, groupby
from typing import TypeAlias

from pytest_circuits.spec.problems import Loc, quoted
from pytest_circuits.spec.types import Behavior

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MAX_STEPS = 5_000  # a template with many holes could otherwise search for ever


@dataclass(frozen=True, slots=True)
class Hole:
    name: str


Part: TypeAlias = str | Hole
Cue: TypeAlias = tuple[str, str]  # with its answer


@lru_cache(maxsize=64)
def parse_template(text: str) -> tuple[Part, ...]:
    """Return the literals and holes of a template; a stray brace is kept as it is."""
    parts: list[Part] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()])
        parts.append(token[0][0] if token[1] is None else Hole(token[1]))
        end = token.end()
    parts.append(text[end:])
    return tuple(_merged(parts))


def stray_braces(text: str) -> list[int]:
    """Return where braces stand that neither name a hole nor are doubled."""
    return [token.start() for token in _TOKEN.finditer(text) if token[0] in ("{", "}")]


def hole_names(parts: tuple[Part, ...]) -> list[str]:
    """Return each name once, in the order of the template."""
    return list(dict.fromkeys(part.name for part in parts if isinstance(part, Hole)))


def fill(parts: tuple[Part, ...], values: Mapping[str, str]) -> str:
    return "".join(values[part.name] if isinstance(part, Hole) else part for part in parts)


def templates(behavior: Behavior) -> dict[str, str]:
    """Return the templates by name, sorted, numbers as such: the order of lines changes nothing."""
    return dict(sorted(behavior.templates.items(), key=lambda item: (len(item[0]), item[0])))


def template_loc(behavior: Behavior, name: str) -> Loc:
    """Return where a template stands in a specification."""
    if len(behavior.templates) == 1:
        return ("behavior", "prompt")
    return ("behavior", "prompt", int(name) - 1 if name.isdecimal() else name)


def shape_of(behavior: Behavior) -> str:
    """Return what prompts look like, in words."""
    return " or ".join(map(quoted, templates(behavior).values()))


def cue_name(behavior: Behavior) -> str:
    return next(iter(behavior.contrast))


def cues(behavior: Behavior) -> tuple[Cue, ...]:
    """Return the cues, each with its answer, sorted: the order of lines changes nothing."""
    return tuple(sorted(behavior.contrast[cue_name(behavior)].items()))


def answers(behavior: Behavior) -> tuple[str, ...]:
    """Return each answer once, in the order of the cues."""
    return tuple(dict.fromkeys(answer for _, answer in cues(behavior)))


def contrasts(behavior: Behavior) -> tuple[tuple[Cue, Cue], ...]:
    """Return every two cues with different answers, first the one whose answer comes first."""
    order = answers(behavior).index
    apart = ((a, b) for a, b in combinations(cues(behavior), 2) if a[1] != b[1])
    return tuple((a, b) if order(a[1]) < order(b[1]) else (b, a) for a, b in apart)


def fit_prompt(behavior: Behavior, text: str) -> tuple[str, dict[str, str]] | None:
    """Return a template and what each of its holes must hold to give this text, if any does.

    Of several templates it is the first that fits with values that its slots list, or else the
    first that fits.
    """
    fitted = (
        (name, values)
        for name, template in templates(behavior).items()
        if (values := fit_template(behavior, template, text)) is not None
    )
    first = next(fitted, None)
    if first is None or len(behavior.templates) == 1:
        return first
    return next((found for found in (first, *fitted) if is_listed(behavior, found[1])), first)


def is_listed(behavior: Behavior, values: Mapping[str, str]) -> bool:
    """Whether every slot can hold the text that it is given."""
    slots = behavior.slots
    return all(slots[name].holds(text) for name, text in values.items() if name in slots)


def fit_template(behavior: Behavior, template: str, text: str) -> dict[str, str] | None:
    """Return what each hole must hold so that a template gives this text, if anything does.

    The cue slot holds one of its cues; other slots may hold any text, the same wherever they
    appear. Where several cues fit, the cue that stands first wins, then the longer one.
    """
    parts = parse_template(template)
    name = cue_name(behavior)
    found = []
    for cue, _ in cues(behavior):
        values = fit(parts, text, fixed={name: cue})
        if values is not None:
            before = parts[: parts.index(Hole(name))] if Hole(name) in parts else ()
            found.append((len(fill(before, values)), -len(cue), values))
    return min(found, key=lambda fitted: fitted[:2])[2] if found else None


def fit(parts: tuple[Part, ...], text: str, *, fixed: Mapping[str, str]) -> dict[str, str] | None:
    """Return values of the holes, each as short as can be, with which the template is the text."""
    return next(every_fit(parts, text, fixed=fixed, steps=iter(range(_MAX_STEPS))), None)


def every_fit(
    parts: tuple[Part, ...],
    text: str,
    *,
    fixed: Mapping[str, str],
    steps: Iterator[int],
    holds: Callable[[str, str], bool] = lambda _name, _text: True,
) -> Iterator[dict[str, str]]:
    """Give all values of the holes with which the template is the text, the shortest first.

    steps: as many as it has are tried; holds: whether a hole may hold a text.
    """
    known = tuple(
        _merged([fixed.get(part.name, part) if isinstance(part, Hole) else part for part in parts])
    )
    yield from _fits(known, text, 0, dict(fixed), _Search(steps, holds))


@dataclass(frozen=True, slots=True)
class _Search:
    steps: Iterator[int]
    holds: Callable[[str, str], bool]


def _fits(
    parts: tuple[Part, ...], text: str, at: int, values: dict[str, str], search: _Search
) -> Iterator[dict[str, str]]:
    if next(search.steps, None) is None:
        return
    if not parts:
        if at == len(text):
            yield values
        return
    head, rest = parts[0], parts[1:]
    value = values.get(head.name) if isinstance(head, Hole) else head
    if value is not None:
        if text.startswith(value, at):
            yield from _fits(rest, text, at + len(value), values, search)
        return
    assert isinstance(head, Hole)  # noqa: S101  (for the type checker)
    for end in _ends(rest, text, at):
        if search.holds(head.name, text[at:end]):
            yield from _fits(rest, text, end, {**values, head.name: text[at:end]}, search)


def _ends(rest: tuple[Part, ...], text: str, at: int) -> Iterator[int]:
    """Give the places where a hole that begins at `at` can end, the nearest first."""
    if not rest:
        yield len(text)
    elif isinstance(rest[0], Hole):
        yield from range(at, len(text) + 1)
    elif len(rest) == 1:
        yield from [len(text) - len(rest[0])] * (len(text) - len(rest[0]) >= at)
    else:
        end = text.find(rest[0], at)
        while end >= 0:
            yield end
            end = text.find(rest[0], end + 1)


def _merged(parts: list[Part]) -> Iterator[Part]:
    """Give the parts with neighboring literals joined and empty ones left out."""
    for is_literal, some in groupby(parts, lambda part: isinstance(part, str)):
        if not is_literal:
            yield from some
        elif literal := "".join(map(str, some)):
            yield literal
