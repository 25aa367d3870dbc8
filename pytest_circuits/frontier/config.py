"""What a sweep compares: the YAML file of `pytest-circuits frontier`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pytest_circuits.spec.frozen import UNIQUE, Frozen, Name, Text

_Paths = Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000, strict=False), UNIQUE]


class Member(Frozen):
    """One model of a sweep: one that is there, or one that is trained."""

    model: Text | None = None
    """A model directory, relative to the file."""
    train: Text | None = None
    """A configuration of `pytest-circuits train`, relative to the file."""

    @model_validator(mode="after")
    def _is_one(self) -> Member:
        if (self.model is None) == (self.train is None):
            raise ValueError("name a `model` that is there, or what to `train` one by")
        return self


class Searches(Frozen):
    """How circuits are searched for, in every model alike."""

    steps: Annotated[int, Field(ge=1, le=100_000)] = 300
    """Steps of a mask search."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Mask searches of each behavior; the smallest circuit counts."""


class FrontierConfig(Frozen):
    """A sweep of models, the behaviors whose circuits are searched in each, and a text."""

    specs: _Paths
    """Specifications, relative to the file; `*` is allowed. Their nodes do not count."""
    text: _Paths
    """Files of text that no model learnt from, on which loss is measured; `*` is allowed."""
    models: Annotated[dict[Name, Member], Field(min_length=1, max_length=100)]
    """The models, by the names that table and picture show."""
    prune: Searches = Searches()
