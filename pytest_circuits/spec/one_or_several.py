"""Keys of YAML that hold one thing or several: read alike, and written as short as can be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.frozen import UNIQUE, Name, Text


def _several(value: object) -> object:
    """Take one ablation for a list of one."""
    return [value] if isinstance(value, str) else value


def _one_or_several(ablations: tuple[Ablation, ...]) -> str | list[str]:
    """As YAML has it: one without a list."""
    named = [ablation.value for ablation in ablations]
    return named[0] if len(named) == 1 else named


_ListOfAblations = Annotated[  # not strict: it is read from what `_several` gives, not from JSON
    tuple[Annotated[Ablation, Field(strict=False)], ...],
    Field(min_length=1, max_length=len(Ablation), strict=False),
    UNIQUE,
]


def _named(templates: object) -> object:
    """Take one template for a list of one, and name those of a list by their numbers."""
    listed = [templates] if isinstance(templates, str) else templates
    if not isinstance(listed, list | tuple):
        return listed
    return {str(number): text for number, text in enumerate(listed, 1)}


def _as_written(templates: dict[str, str]) -> str | list[str] | dict[str, str]:
    """As YAML has it: one without a list, and those that are named by numbers as a list."""
    numbers = [str(number) for number in range(1, len(templates) + 1)]
    if set(templates) != set(numbers):
        return templates
    listed = [templates[number] for number in numbers]
    return listed[0] if len(listed) == 1 else listed


_SOME = Field(min_length=1, max_length=20)
_ListOfTemplates = Annotated[tuple[Text, ...], _SOME, UNIQUE]
_Templates = Annotated[dict[Name, Text], _SOME]
Templates = Annotated[  # by name
    _Templates,
    BeforeValidator(_named, json_schema_input_type=Text | _ListOfTemplates | _Templates),
    PlainSerializer(_as_written),
]
Ablations = Annotated[
    _ListOfAblations,
    BeforeValidator(_several, json_schema_input_type=Ablation | _ListOfAblations),
    PlainSerializer(_one_or_several),
]
