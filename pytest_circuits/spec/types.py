"""What a specification says, as frozen types that cannot hold a value that makes no sense.

The types are the single source of the accepted YAML and of its JSON Schema: a field added here is
parsed, checked and completed in the editor without another line. The text below a field is what the
editor shows for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pytest_circuits.spec.frozen import UNIQUE, Frozen, Name, Text
from pytest_circuits.spec.installed import with_fields, with_installed
from pytest_circuits.spec.lax import Lax
from pytest_circuits.spec.one_or_several import Ablations, Templates
from pytest_circuits.spec.sites import GAUGES, NamedSites, Sites
from pytest_circuits.spec.slots import Slot

Share = Annotated[float, Field(gt=0, lt=1)]
_Known = Annotated[Share, Lax("what knows half of the answers would pass", below=0.75)]
_Lost = Annotated[Share, Lax("half of what is known may be lost", above=0.25)]
_Loss = Annotated[
    float,
    Field(gt=0, lt=0.6931),
    Lax("what knows half of the answers would pass", above=0.3466),  # half of chance
]
_Alike = Annotated[Share, Lax("what shares a quarter of the variance would pass", below=0.5)]
_Attention = Annotated[Share, Lax("half of a head's attention may be elsewhere", above=0.5)]
EdgeKey = Annotated[str, Field(pattern=r"^\S+ -> \S+$")]  # see `edge_key`
FEW = 2  # elements of the rest whose ablation a circuit has to bear
_Channel = Annotated[int, Field(ge=0)]
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
Edge = tuple[
    Annotated[_Channel, Field(description="source channel")],
    Annotated[_Channel, Field(description="target channel")],
]
# A figure or setting of the search; or one number for each node, by hook point.
FoundBy = str | int | float | bool | dict[str, tuple[int, ...]]
OfClaim = TypeVar("OfClaim")
About = TypeVar("About", bound=BaseModel)


def _calendar_day(value: object) -> object:
    """Read a day as it is written, and nothing else: pydantic takes numbers of seconds too."""
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value) if _DAY.fullmatch(value) else None
    except ValueError:
        return None


class Behavior(Frozen):
    """A prompt space, and for each prompt the answer token and the foil token."""

    templates: Annotated[Templates, Field(alias="prompt")]
    """The template: `{name}` is replaced by its slot or by the cue; `{{` and `}}` are braces. Or
    several, as a list or by name: each says the same in other words, with the cue and with slots
    that it shares with every other. Rates are decided for each of them, and the worst counts."""
    slots: Annotated[dict[Name, Slot], Field(max_length=32)] = Field(default_factory=dict)
    """What varies without changing the answer, by name."""
    contrast: Annotated[
        dict[Name, Annotated[dict[str, Text], Field(min_length=2, max_length=16)]],
        Field(min_length=1, max_length=1),
    ]
    """The cue slot with its cues, mostly two, each with its answer. Any two with different answers
    are a contrast: the foil is the other one's answer. Rates are decided for each contrast, and the
    worst counts."""


class BehavesClaim(Frozen):
    """The whole model prefers the answer to the foil at least at this rate."""

    rate: _Known
    """The least share of prompts, shown at the confidence of the protocol."""


class SufficientClaim(Frozen):
    """With everything outside the circuit ablated the answer is still preferred."""

    rate: _Known
    """The least share of prompts, shown at the confidence of the protocol."""
    max_loss: _Loss
    """The greatest task loss in nats; chance is ln 2 = 0.693."""


class NecessaryClaim(Frozen):
    """With only the circuit ablated the preference is gone; by `contrast` it is turned."""

    max_rate: Annotated[
        float, Field(gt=0.5, lt=1), Lax("half of the answers may still be known", above=0.75)
    ]
    """The greatest share of prompts that keep the answer with the circuit's nodes ablated, and with
    its edges cut and its nodes alive; chance is 0.5."""
    min_flip: Annotated[float, Field(gt=0.5, lt=1), Lax("half may stay", below=0.75)] = 0.9
    """Under `contrast`: the least share of prompts whose foil is preferred with the circuit, and it
    alone, at the partner's values."""


class IdentityPart(Frozen):
    """The nodes carry the same signals as in the baseline."""

    min_correlation: _Alike = 0.9
    """The least mean correlation of the nodes' activations, weighted by the nodes' effects."""
    min_each: _Alike = 0.7
    """The least correlation of each node that does at least a fifth of what the strongest does."""
    max_attention: _Attention = 0.25
    """The greatest total variation of a kept head's attention from that in the baseline."""


class EffectsPart(Frozen):
    """What each node adds to the preference is as in the baseline, in its order and its size."""

    min_correlation: Annotated[
        Share, Lax("every third pair of nodes may be in another order", below=1 / 3)
    ] = 0.5
    """The least rank correlation of the nodes' effects."""
    max_change: Annotated[
        float, Field(gt=0, le=2), Lax("a node may do as much as the whole model", above=1)
    ] = 0.4
    """The greatest change of a node's effect as a share of the whole model's preference."""


class StructurePart(Frozen):
    """Circuits that are pruned anew are as near to the baseline's as those among themselves."""

    seeds: Annotated[int, Field(ge=2, le=20)] = 3
    """Searches on each of the two models."""
    gate: bool = False
    """Whether it decides, or is only reported."""


class StableClaim(Frozen):
    """Against the baseline: the circuit does the same job, with the same signals and effects."""

    max_drop: _Lost
    """Transfer: the greatest drop of the rate of the circuit alone."""
    max_rise: Annotated[Share, Lax("half of the pairs may be told apart without it", above=0.5)] = (
        0.1
    )
    """Transfer: the greatest rise of the share of pairs that are told apart, by the margin of the
    protocol, with only the circuit ablated."""
    max_factor: Annotated[
        float, Field(ge=1, le=100), Lax("another path may do three quarters of the job", above=4)
    ] = 2.0
    """Transfer: the greatest factor by which the share of the whole model's preference that the
    circuit has alone may fall or rise."""
    identity: IdentityPart = IdentityPart()
    """How much the nodes' signals and the heads' attention may differ."""
    effects: EffectsPart = EffectsPart()
    """How much the order of the nodes' effects and their sizes may differ."""
    structure: StructurePart | None = None
    """Prune the circuit anew on both models. Left out: not done, it takes minutes."""


class FaithfulClaim(Frozen):
    """The circuit does the job as the whole model does it, whatever part of the rest is ablated."""

    rate: _Known
    """The least share of prompts with the worst part of the rest ablated that was found."""
    max_gap: _Loss
    """The greatest task loss above the whole model's, in nats: with random parts of the rest and
    the worst one ablated, with frozen norms, and with nodes at the whole model's values."""
    few: Annotated[int, Field(ge=1, le=8)] = FEW
    """Elements of the worst part, ablated in the whole model or left intact beside the circuit;
    under `contrast` it may have any size."""
    min_correlation: _Alike = 0.9
    """The least mean correlation of what the nodes carry alone, beyond the values that ablation
    gives them, with what they carry in the whole model, weighted by the nodes' effects."""
    max_attention: _Attention = 0.25
    """The greatest total variation of a kept head's attention from that in the whole model."""


class MinimalClaim(Frozen):
    """Each node and each listed edge of the circuit earns its place against random ones."""

    quantile: Annotated[Share, Lax("a part may do less than half of random nodes", below=0.5)]
    """Of random nodes that are added: the share that each part, taken out, has to outdo."""


class SpecificClaim(Frozen):
    """Ablating the circuit hurts this behavior, and others not."""

    others: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50), UNIQUE]
    """Other behaviors of the same model: `NAME` is `NAME.circuit.yaml` beside this file."""
    max_drop: _Lost
    """The greatest drop of another behavior's share of prompts with this circuit ablated."""


class BlindClaim(Frozen):
    """What these slots hold does not decide the preference, and hardly moves it."""

    slots: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32), UNIQUE]
    """The slots that must not matter, changed together."""
    rate: Annotated[Share, Lax("what the slots decide half of the time would pass", below=0.75)]
    """The least share of changes that leave the preference with the same token."""
    max_shift: Annotated[float, Field(gt=0, le=100)] | None = None
    """Nats that a change may move the preference by; left out: the margin of the protocol."""


class DependsOnClaim(Frozen):
    """What these slots hold moves the preference; the cue moves it to the other answer."""

    slots: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32), UNIQUE]
    """The slots, or the cue, that must matter, each by itself."""
    rate: Annotated[Share, Lax("half of the changes may move nothing", below=0.5)]
    """The least share of changes that move the preference by the margin of the protocol."""


@with_installed
class Claims(Frozen):
    """The claims that are put to the test; one that is left out is not tested."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    behaves: BehavesClaim | None = None
    sufficient: SufficientClaim | None = None
    necessary: NecessaryClaim | None = None
    stable: StableClaim | None = None
    faithful: FaithfulClaim | None = None
    minimal: MinimalClaim | None = None
    specific: SpecificClaim | None = None
    blind: BlindClaim | None = None
    depends_on: DependsOnClaim | None = None


class PerClaim(Frozen, Generic[OfClaim]):
    """Something about some of the claims, by their names."""

    # Its fields have no text and are given below: what pydantic would do before costs 0.03 s.
    model_config = ConfigDict(use_attribute_docstrings=False, defer_build=True)

    def items(self) -> tuple[tuple[str, OfClaim], ...]:
        """The claims that it is about, in order, each with what is said of it."""
        every = ((name, getattr(self, name)) for name in type(self).model_fields)
        return tuple((name, said) for name, said in every if said is not None)


def _for_each_claim(held: object) -> Callable[[type[About]], type[About]]:
    return lambda kind: with_fields(kind, dict.fromkeys(Claims.model_fields, held))


@_for_each_claim(Text)
class Undeclared(PerClaim[Text]):
    """Why claims are not made: the reason, its first word or two before a colon."""


class Waiver(Frozen):
    """For how long a claim is accepted although it does not pass, and why."""

    until: Annotated[date, BeforeValidator(_calendar_day)]
    """The last day of the waiver, in UTC, such as 2026-12-31."""
    reason: Text
    """Why it is accepted, and where that was reviewed."""


@_for_each_claim(Waiver)
class Waivers(PerClaim[Waiver]):
    """Claims that are accepted for a while although they do not pass."""


class Ambiguous(Frozen):
    """A prompt on which two rules that both fit the behavior disagree."""

    prompt: Text
    """The text, as it is: no slots are filled."""
    between: tuple[
        Annotated[Text, Field(description="one rule's token")],
        Annotated[Text, Field(description="the other's")],
    ]
    """The two continuations, each one token."""


class Protocol(Frozen):
    """How much evidence is collected, and how sure a verdict has to be."""

    margin: Annotated[float, Field(gt=0, le=100)] | None = None
    """Nats by which a single prompt must go wrong before it breaks a law. Left out: a quarter of
    the whole model's preference at the median prompt of the sample."""
    alpha: Annotated[
        float, Field(gt=0, le=0.1), Lax("a pass in twenty may be wrong", above=0.05)
    ] = 0.01
    """The risk of a wrong pass that each bound allows."""
    pairs: Annotated[int, Field(ge=100, le=100_000)] = 500
    """Contrast pairs in the sample, and windows of general text for `specific`; a space, or a text,
    that is not larger is run whole."""
    search: Annotated[int, Field(ge=10, le=10_000)] = 100
    """Examples that the search for a counterexample tries."""
    controls: Annotated[
        int, Field(ge=19, le=999), Lax("beating them all is p = 0.05", below=20)
    ] = 59
    """Random circuits of the same shape that the circuit has to beat."""


class Calibration(Frozen):
    """How the circuit's own preference is read where it runs alone: `scale * (it + shift)`."""

    scale: Annotated[float, Field(gt=0, le=10)]
    """By how much the task loss multiplies the preference; no rate and no law heeds it."""
    shift: Annotated[float, Field(ge=-20, le=20)]
    """Nats added to the preference for the answer of the cue that sorts first."""


class Spec(Frozen):
    """One circuit, the behavior that it explains and the claims made about it."""

    version: Literal[1]
    """The version of this format."""
    circuit: Name
    """The name of the circuit: letters, digits, '.', '_' and '-'."""
    description: str = ""
    """What the circuit does, in a sentence."""
    model: Text
    """The directory of the model, relative to this file."""
    behavior: Behavior
    ablations: Annotated[Ablations, Field(alias="ablation")]
    """What an excluded node becomes: one ablation, or a list of several, under each of which
    `sufficient` and `necessary` have to hold; the same circuit scores differently under each."""
    sites: Sites | None = None
    """Where places of a model overlap, as in one of transformers: what the circuit is chosen among,
    in every layer, such as [attn.head]. All else stays as it is, and is in no claim. Or a mapping
    that says where they are in a model of transformers, for families in which none are found."""
    nodes: dict[str, Annotated[tuple[_Channel, ...], UNIQUE]] = Field(default_factory=dict)
    """The nodes of the circuit: for each hook point the indexes of its channels. `HOOK at ROLE`
    counts at some tokens alone: those of the `cue` or of a slot, `last`, or all other `text`."""
    edges: dict[EdgeKey, Annotated[tuple[Edge, ...], UNIQUE]] | None = None
    """The edges of the circuit: for `SOURCE -> TARGET`, two hook points of one sublayer, its pairs
    of [source channel, target channel]. Left out: every nonzero weight between two of the nodes."""
    calibration: Calibration | None = None
    """The calibration of the circuit, as `prune --calibrate` fits it. Left out: none."""
    claims: Claims
    undeclared: Undeclared = Field(default_factory=Undeclared)
    """Claims that are not made, each with the reason, such as `faithful: "fails: the loss is 1.2
    nats above the whole model's"`. Reports show it; it changes no verdict and no grade."""
    waivers: Waivers = Field(default_factory=Waivers)
    """Claims that are accepted for a while although they do not pass. Their verdicts stay, and the
    gate lets them through until the day that is named, and not if they pass."""
    protocol: Protocol = Protocol()
    disambiguate: Annotated[tuple[Ambiguous, ...], Field(max_length=200)] = ()
    """Prompts on which rules that both fit the behavior disagree: there `faithful` wants circuit
    and whole model to agree."""
    regressions: Annotated[tuple[Text, ...], Field(max_length=200)] = ()
    """Prompts that once broke a law; always tried first."""
    found_by: dict[str, FoundBy] = Field(default_factory=dict)
    """How the circuit was found: the pruner's settings and figures."""

    @property
    def points(self) -> tuple[str, ...]:
        """The hook points that the circuit is chosen among; none where it does not say so."""
        if isinstance(self.sites, dict):
            return tuple(point for point, at in self.sites.items() if at.kind not in GAUGES)
        return self.sites or ()

    @property
    def named(self) -> NamedSites:
        """The sites of which it says where they are, in an order of their own."""
        return tuple(sorted(self.sites.items())) if isinstance(self.sites, dict) else ()

    @property
    def rivals(self) -> int | None:
        """Other circuits, by `found_by`; None: not searched, or of a circuit of another size."""
        known, nodes = self.found_by.get("rivals"), sum(map(len, self.nodes.values()))
        if not isinstance(known, int) or isinstance(known, bool):
            return None
        return known if self.found_by.get("nodes") == nodes else None


def edge_key(source: str, target: str) -> str:
    """The key of the edges between two hook points: `0.mlp.act_in -> 0.mlp.post_act`."""
    return f"{source} -> {target}"


def edge_ends(key: str) -> tuple[str, str]:
    """The hook points that the key of some edges names: source and target."""
    source, _, target = key.partition(" -> ")
    return source, target
