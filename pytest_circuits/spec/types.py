"""What a specification says, as frozen types that cannot hold a value that makes no sense.

The types are the single source of the accepted YAML and of its JSON Schema: a field added here is
parsed, checked and completed in the editor without another line.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )


class Ablation(StrEnum):
    """What the activation of an excluded node becomes."""

    MEAN = "mean"
    ZERO = "zero"
    RESAMPLE = "resample"


class ChoiceSlot(_Frozen):
    """One of a list of texts, each equally likely; the first is the simplest."""

    choice: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]


class WordList(_Frozen):
    """How many words a `words` slot joins, and from which list they come."""

    from_: Annotated[tuple[Text, ...], Field(alias="from", min_length=1, max_length=1000)]
    count: tuple[Annotated[int, Field(ge=0, le=100)], Annotated[int, Field(ge=0, le=100)]]
    separator: Annotated[str, Field(max_length=16)] = " "


class WordsSlot(_Frozen):
    """Several words joined by a separator: the count uniform, then each word uniform."""

    words: WordList


class IntegerSlot(_Frozen):
    """A whole number between two bounds, both included, each equally likely."""

    integer: tuple[Annotated[int, Field(ge=0, le=10**9)], Annotated[int, Field(ge=0, le=10**9)]]


Slot = ChoiceSlot | WordsSlot | IntegerSlot


class Behavior(_Frozen):
    """A prompt space, and for each prompt the answer token and the foil token."""

    prompt: Text
    slots: dict[Name, Slot] = Field(default_factory=dict)
    contrast: Annotated[
        dict[Name, Annotated[dict[str, Text], Field(min_length=2, max_length=2)]],
        Field(min_length=1, max_length=1),
    ]


class BehavesClaim(_Frozen):
    """The whole model prefers the answer to the foil at least at this rate."""

    rate: Share


class SufficientClaim(_Frozen):
    """With everything outside the circuit ablated the answer is still preferred."""

    rate: Share
    max_loss: Annotated[float, Field(gt=0, lt=0.6931)]


class NecessaryClaim(_Frozen):
    """With only the circuit ablated the answer is preferred at most at this rate (chance: 0.5)."""

    max_rate: Annotated[float, Field(gt=0.5, lt=1)]


class StableClaim(_Frozen):
    """Against the baseline: the drop of the circuit's rate, and the agreement of its nodes."""

    max_drop: Share
    min_correlation: Share = 0.9


class Claims(_Frozen):
    """The claims that are put to the test; one that is left out is not tested."""

    behaves: BehavesClaim | None = None
    sufficient: SufficientClaim | None = None
    necessary: NecessaryClaim | None = None
    stable: StableClaim | None = None


class Protocol(_Frozen):
    """How much evidence is collected, and how sure a verdict has to be."""

    margin: Annotated[float, Field(gt=0, le=100)] = 1.0
    alpha: Annotated[float, Field(gt=0, le=0.1)] = 0.01
    pairs: Annotated[int, Field(ge=100, le=100_000)] = 500
    search: Annotated[int, Field(ge=10, le=10_000)] = 100
    controls: Annotated[int, Field(ge=19, le=999)] = 59


class Spec(_Frozen):
    """One circuit, the behavior that it explains and the claims made about it."""

    version: Literal[1]
    circuit: Name
    description: str = ""
    model: Text
    behavior: Behavior
    ablation: Ablation
    nodes: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(default_factory=dict)
    claims: Claims
    protocol: Protocol = Protocol()
    regressions: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    found_by: dict[str, str | int | float | bool] = Field(default_factory=dict)
