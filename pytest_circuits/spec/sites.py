"""Where in a model nodes live, as a specification or a `conftest.py` names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, GetPydanticSchema, Tag
from pydantic_core import core_schema

from pytest_circuits.spec.frozen import UNIQUE, Name, Text

GAUGES = ("pattern", "scale")  # `Shows` of the model room, and with `Kind` of it:
KINDS = (
    *("residual", "query", "key", "value", "keys_values", "head", "neuron", "feature"),
    *GAUGES,
)
_Kind = GetPydanticSchema(lambda _source, _handler: core_schema.literal_schema([*KINDS]))


@dataclass(frozen=True, slots=True)
class SiteAt:
    """Where in a module nodes live: at what one of its parts reads, or puts out.

    The activation is [N, T, D], and a node is one of its D channels, or so many side by side that
    there are as many `nodes`.
    """

    module: Annotated[
        Text,
        Field(
            description="The part, as `get_submodule` has it; `{layer}` in it stands for every "
            "number with which it is there: 0, 1, ..."
        ),
    ]
    kind: Annotated[
        str,
        _Kind,
        Field(
            description="What its channels are. Or what holds no nodes and is only looked at: "
            "`pattern`, [N, H, Q, T] of what each head attends to; `scale`, of a norm."
        ),
    ]
    nodes: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="How many nodes. Left out: every channel is one."),
    ] = None
    output: Annotated[
        bool, Field(description="At what the part puts out, and not at its first argument.")
    ] = False
    head: Annotated[
        int, Field(ge=0, description="Nodes of one head, of queries, keys and values.")
    ] = 0


NamedSites: TypeAlias = tuple[tuple[str, SiteAt], ...]  # by their points, sorted

_MOST = 32
_Points = Annotated[  # not strict: it is read from what the validator gives, not from JSON
    tuple[Text, ...], Field(min_length=1, max_length=_MOST, strict=False), UNIQUE
]
_Places = Annotated[dict[Name, SiteAt], Field(min_length=1, max_length=_MOST)]
Sites = Annotated[  # what is wrong with one of the two is told of it alone
    Annotated[_Points, Tag("list")] | Annotated[_Places, Tag("mapping")],
    Discriminator(lambda given: "mapping" if isinstance(given, dict) else "list"),
    BeforeValidator(lambda given: given, json_schema_input_type=_Points | _Places),
]
