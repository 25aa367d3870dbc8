"""Which tokens of a prompt a role of the template names: the cue, a slot, the last one.

A token that holds a character of a slot is of that slot, whatever else it holds: the space before a
word is mostly in the token of the word. One that is of two roles that are told apart is refused,
and so is a prompt that the template makes in two ways which differ in that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytest_circuits.errors import SpecError
from pytest_circuits.prompts.space import PromptSpace, prompts_of
from pytest_circuits.spec.places import CUE, LAST, TEXT
from pytest_circuits.spec.problems import listed, quoted
from pytest_circuits.spec.template import (
    Hole,
    cue_name,
    cues,
    every_fit,
    parse_template,
    templates,
)
from pytest_circuits.spec.types import Behavior, Spec

_MOST_STEPS = 20_000  # to find every way in which the templates make a prompt

Span: TypeAlias = tuple[int, int]  # characters of a text, from the first to behind the last one
Roles: TypeAlias = "tuple[frozenset[str], ...]"  # of each token


@dataclass(frozen=True, slots=True)
class Places:
    """Tells the tokens of a behavior's prompts apart, at each hook point by the roles named there.

    literal: prompts whose slots may hold what is not listed.
    """

    behavior: Behavior
    roles: Mapping[str, tuple[str, ...]]  # by hook point
    literal: frozenset[str]

    @classmethod
    def of(cls, spec: Spec, roles: Mapping[str, tuple[str, ...]]) -> Places:
        space = PromptSpace(spec.behavior)
        given = (*spec.regressions, *(item.prompt for item in spec.disambiguate))
        known = (prompt.text for text in given for prompt in prompts_of(space.parse(text)))
        return cls(spec.behavior, roles, frozenset({*known, *given}))

    def within(self, text: str, spans: Sequence[Span]) -> dict[str, tuple[int, ...]] | None:
        """For each hook point and token the number of its role; as many as there are: none of them.

        spans: the characters that each token holds. None for what is no prompt of the behavior.
        Raises SpecError where that is not clear.
        """
        readings = {
            tuple(self._numbered(text, spans, roles).items())
            for roles in self._readings(text, spans)
        }
        if len(readings) > 1:
            raise SpecError(
                f"the prompt {quoted(text)} can be read in {len(readings)} ways, which differ in "
                f"where {self._named()} is; change a slot, or the template"
            )
        return dict(readings.pop()) if readings else None

    def _named(self) -> str:
        return listed(sorted({role for roles in self.roles.values() for role in roles}))

    def _numbered(
        self, text: str, spans: Sequence[Span], held: Roles
    ) -> dict[str, tuple[int, ...]]:
        found = {}
        for site, roles in self.roles.items():
            numbers = [[i for i, role in enumerate(roles) if role in mine] for mine in held]
            for token, several in enumerate(numbers):
                if len(several) > 1:
                    start, end = spans[token]
                    both = " and ".join(quoted(roles[i]) for i in several)
                    raise SpecError(
                        f"the token {quoted(text[start:end])} of the prompt {quoted(text)} is "
                        f"{both}, which {site} tells apart; name one of them there"
                    )
            found[site] = tuple(some[0] if some else len(roles) for some in numbers)
        return found

    def _readings(self, text: str, spans: Sequence[Span]) -> list[Roles]:
        """The roles of each token, for each way in which a template makes the text.

        Ways with listed values come before those with others.
        """
        found = [*self._ways(text, spans, any_text=False)]
        if not found and text in self.literal:
            found = [*self._ways(text, spans, any_text=True)]
        return found

    def _ways(self, text: str, spans: Sequence[Span], *, any_text: bool) -> Iterator[Roles]:
        steps, slots = iter(range(_MOST_STEPS)), self.behavior.slots
        name = cue_name(self.behavior)

        def holds(slot: str, held: str) -> bool:
            return any_text or slots[slot].holds(held)

        for template in templates(self.behavior).values():
            parts = parse_template(template)
            for cue, _ in cues(self.behavior):
                fits = every_fit(parts, text, fixed={name: cue}, steps=steps, holds=holds)
                for values in fits:
                    yield _roles(_spans(parts, values, name), spans)
        if next(steps, None) is None:
            raise SpecError(
                f"the prompt {quoted(text)} can be read in too many ways to say where "
                f"{self._named()} is; change a slot, or the template"
            )


def _spans(
    parts: Sequence[str | Hole], values: Mapping[str, str], cue: str
) -> list[tuple[str, Span]]:
    """The characters of each hole, with its role."""
    found, at = [], 0
    for part in parts:
        end = at + len(values[part.name] if isinstance(part, Hole) else part)
        if isinstance(part, Hole):
            found.append((CUE if part.name == cue else part.name, (at, end)))
        at = end
    return found


def _roles(holes: Collection[tuple[str, Span]], spans: Sequence[Span]) -> Roles:
    roles = [
        {role for role, (start, end) in holes if max(first, start) < min(behind, end)}
        for first, behind in spans
    ]
    if roles:
        roles[-1].add(LAST)
    return tuple(frozenset(mine or {TEXT}) for mine in roles)
