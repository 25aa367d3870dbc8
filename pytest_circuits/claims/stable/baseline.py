"""What a circuit is compared with: evidence that was accepted earlier, or another model at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.claims.evidence import Rate
from pytest_circuits.claims.stable.observation import Observation, Place
from pytest_circuits.errors import BaselineError, ModelError
from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.spec.load import LoadedSpec

RECORD = "pytest --circuits --circuits-update"
AGAIN = f"`{RECORD}=changed` records it again"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What makes two models comparable, and which model it was."""

    digest: str
    tokenizer_digest: str
    hook_points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Recorded:
    circuit: str
    spec_digest: str
    model: ModelFacts
    reference_text: str  # sha256 of the text that its reference was measured on
    versions: Mapping[str, str]
    seed: int
    alpha: float
    prompts_digest: str  # sha256 of the texts that the observation is about
    node_ids: tuple[str, ...]
    observation: Observation
    rates: Mapping[str, Rate]  # of the claims that were accepted

    @property
    def is_elsewhere(self) -> bool:
        """A file is about the nodes that the specification names."""
        return False


@dataclass(frozen=True, slots=True)
class Live:
    """A baseline model at hand, run like the candidate."""

    runner: Runner
    place: Place | None = None  # of the circuit there; None: where the specification says

    @property
    def model(self) -> ModelFacts:
        return facts(self.runner.model)

    @property
    def reference_text(self) -> str:
        """sha256 of the text that its reference was measured on."""
        return self.runner.reference.text_digest

    @property
    def is_elsewhere(self) -> bool:
        """Whether its circuit has other addresses than the candidate's."""
        return self.place is not None


def facts(model: Model) -> ModelFacts:
    return ModelFacts(model.digest, model.tokenizer_digest, widths_of(model))


def check_tokenizer(candidate: Model, other: ModelFacts, *, what: str) -> None:
    """Raise ModelError when the same prompt is other tokens in the two models."""
    if candidate.tokenizer_digest != other.tokenizer_digest:
        raise ModelError(
            f"{candidate.path}: not comparable: its tokenizer is not the one of {what} "
            f"({candidate.tokenizer_digest[:12]}, not {other.tokenizer_digest[:12]}, of all that "
            "tokenizer.json says, white space aside): the prompts could become other tokens. Gate "
            "it with specifications made for it"
        )


def check_comparable(candidate: Model, other: ModelFacts, *, what: str) -> None:
    """Raise ModelError when a circuit of one model means nothing in the other."""
    check_tokenizer(candidate, other, what=what)
    here, there = widths_of(candidate), dict(other.hook_points)
    if here != there:
        hook = next(h for h in [*here, *there] if here.get(h) != there.get(h))
        raise ModelError(
            f"{candidate.path}: not comparable: its shape is not the one of {what} "
            f"(hook point {hook}: {here.get(hook, 'none')} channels, not "
            f"{there.get(hook, 'none')}): node numbers "
            "would mean other nodes. Gate it with specifications made for it"
        )


def check_origin(loaded: LoadedSpec, base: Model, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file was not recorded from this circuit in this model.

    Else whoever replaces the model in its folder replaces what the circuit is compared with.
    """
    check_specification(loaded, recorded)
    if recorded.model.digest != base.digest:
        raise BaselineError(
            f"{loaded.path}: the baseline beside it was recorded from another model than "
            f"{base.path} ({recorded.model.digest[:12]}, not {base.digest[:12]}), so that the "
            "circuit there is not the one that was accepted; give the model that was released as "
            f"--circuits-baseline, or, if the change is meant, {AGAIN}"
        )


def check_specification(loaded: LoadedSpec, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file was recorded for another specification."""
    if recorded.circuit != loaded.spec.circuit or recorded.spec_digest != loaded.digest:
        raise BaselineError(
            f"{loaded.path}: the baseline beside it was recorded for another specification "
            f"(circuit {recorded.circuit!r}, digest {recorded.spec_digest[:12]}, not "
            f"{loaded.digest[:12]}); if the change is meant, {AGAIN}"
        )
