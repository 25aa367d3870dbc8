"""An explanation as lines of text, as wide as a program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_circuits.show.drawing import label_of, site_of
from pytest_circuits.show.layout import number, wrapped
from pytest_circuits.show.statement import (
    LEAST,
    Example,
    Explanation,
    Part,
    Share,
    Statement,
    Topic,
)
from pytest_circuits.spec.problems import visible

IN_FULL = 40  # parts, of which everything is printed
IN_SHORT = 120  # of which what is said is; of more it is what they push
_LABEL = 8  # columns
_KEPT = "\0"  # stands for a space at which no line may end; no text that is shown holds it
_JOINED = {Topic.PUSH, Topic.RAISES}  # what is said for each cue, in one line
_PIECE = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")  # what is in quotes is not broken


def lines(explained: Explanation) -> list[str]:
    """What was found out about each part, in forward order."""
    count = len(explained.parts)
    found = [*_heading(explained)]
    idle = [part for part in explained.parts if part.is_idle and count > IN_FULL]
    for part in explained.parts:
        if part not in idle:
            found += _one_line(part) if count > IN_SHORT else _part(part, in_full=count <= IN_FULL)
    found += _idle(idle)
    return [line.replace(_KEPT, " ") for line in found]


def _heading(explained: Explanation) -> Iterator[str]:
    text = (
        "What each part does in the whole model. A line is a prediction: it was made on one half "
        "of the prompts and of the reference text, and checked on the other half, "
        f"{explained.prompts} prompts and {explained.tokens:,} tokens. In brackets stands how "
        f"often it was right there. Of {explained.tried} predictions {explained.said} were, at "
        f"least {_percent(LEAST)} of the time and clearly more often than by chance; the others "
        "are not said."
    )
    yield from _wrapped(text, "")
    words = {
        "looks": "what a head attends to",
        "text": "where in ordinary text the part has a value far from its usual one",
        "such as": "such places, marked «so»: the one furthest from the usual value, and those "
        "that 0.1, 1 and 10 % of all tokens are further from it than",
        "cues": "what it has with each of the two cues",
        "pushes": "what it adds to the preference for an answer, in nats: what is lost of it with "
        f"the part at {explained.value}, on the middle 80 % of the prompts",
        "raises": "which token's logit is lowered most by that, of all tokens",
    }
    for name, meaning in words.items():
        yield from _wrapped(meaning, _label(name))


def _part(part: Part, *, in_full: bool) -> Iterator[str]:
    yield ""
    yield f"{part.name}: {part.is_a}"
    if part.fact:
        yield from _wrapped(part.fact, _label("copies"))
    for topic in Topic:
        said = [_told(statement) for statement in part.said if statement.topic is topic]
        for text in ["; ".join(said)] if topic in _JOINED and said else said:
            yield from _wrapped(text, _label(topic))
        told = topic is not Topic.RAISES  # which is a detail of what it pushes
        if in_full and told and (near := part.best_unsaid(topic)):
            text = f"nothing simple holds; the nearest, {near.says}, on {_percent(near.rate)}"
            yield from _wrapped(text, _label(topic))
        if in_full and topic is Topic.TEXT and part.examples:
            shown = " | ".join(map(_example, part.examples))
            yield from wrapped(shown.split(" "), _label("such as"))


def _idle(parts: Sequence[Part]) -> Iterator[str]:
    """The parts that push next to nothing, by site."""
    by_site: dict[str, list[Part]] = {}
    for part in parts:
        site = site_of(part.name) if "[" in part.name else ""
        by_site.setdefault(site, []).append(part)
    if parts:
        yield ""
        yield "Each of these, by itself, pushes next to nothing:"
    for site, mine in by_site.items():
        shares = [s for part in mine for each in part.tried if each.little for s in each.shares]
        total = Share(sum(s.holds for s in shares), sum(s.count for s in shares), "prompts")
        names = ", ".join(label_of(part.name) for part in mine)
        yield from _wrapped(f"{names} ({_share(total)})", f"  {site}  ")


def _one_line(part: Part) -> Iterator[str]:
    """What it pushes, or else the first of what is said."""
    pushed = [_told(statement) for statement in part.said if statement.topic is Topic.PUSH]
    said = "; ".join(pushed) or next(map(_told, part.said), "nothing simple holds")
    yield from _wrapped(said, f"{part.name}  ")


def _wrapped(text: str, head: str) -> list[str]:
    return wrapped(_PIECE.findall(text), head)


def _label(text: str) -> str:
    return f"  {text:<{_LABEL}}"


def _told(statement: Statement) -> str:
    return f"{statement.says} ({' and '.join(map(_share, statement.shares))})"


def _share(share: Share) -> str:
    return f"{_percent(share.rate)} of {share.count:,} {share.of}".replace(" ", _KEPT)


def _percent(rate: float) -> str:
    return f"{100 * rate:.0f}{_KEPT}%"


def _example(example: Example) -> str:
    text = f"{visible(example.before)}«{visible(example.token)}»{visible(example.after)}"
    return f"{number(example.value)} {text}".replace(" ", _KEPT)
