"""Where circuits are put on the bench: the known-answer models of one seed, each made once.

The seed decides what is noise in a quote copier and everything in a model of `KINDS`, and it is
another seed of the sample, the search and the controls of every claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import read_reference_text, save_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.spec.load import parse_spec
from tests.known_models.answer import KnownAnswer
from tests.known_models.attacks import Change, altered
from tests.known_models.copier import OTHER, Circuit, Weights, quote_spec, write_quote_copier
from tests.known_models.reader import write_name_reader

# As little evidence as the thresholds of the known-answer specifications can do with. The prompts
# are enough to tell that a circuit is wrong; ENOUGH to show that it is right, where its complement
# prefers the answer on up to 57.5 % of them, by chance, and 65 % are allowed (`plan`: 927).
FEW, ENOUGH = 300, 1000
CONTROLS = "controls: 59"
# Noise of a quote copier depends on the name, so that `blind` is asked of other models.
ALL = tuple(claim for claim in CLAIMS if claim != "blind")
FAITHFUL = "  faithful: {rate: 0.9, max_gap: 0.2}\n"
MINIMAL = "  minimal: {quantile: 0.9}\n"
PLAIN = Weights()
BOTH = "[mean, contrast]"
EQUAL = '"[": ', '"[ alpha": '  # the other cue of a bracket counter has two tokens
SPECIFIC = "  specific: {others: [other], max_drop: 0.1}\n"


@dataclass(frozen=True, slots=True)
class Workshop:
    """The models of one seed in a folder of their own."""

    folder: Path
    seed: int
    pairs: int = FEW  # prompts of every claim
    models: dict[str, SparseModel] = field(default_factory=dict)

    def copier(self, weights: Weights = PLAIN) -> SparseModel:
        """A quote copier with this seed's noise."""
        weights = replace(weights, seed=self.seed)
        return self._made(repr(weights), lambda folder: write_quote_copier(folder, weights))

    def altered(self, change: Change, weights: Weights = PLAIN) -> SparseModel:
        """A quote copier with some of its weights changed."""
        model = self.copier(weights)
        return self._made(
            f"{weights} {change}",
            lambda folder: write_like(model, altered(model, change), folder),
        )

    def reader(self, *, one: float = 0.0, other: float = 0.0) -> SparseModel:
        """A name reader, whose heads read more of it from seed to seed."""
        more = 1 + self.seed / 20
        return self._made(
            f"reader {one} {other}",
            lambda folder: write_name_reader(folder, one=more * one, other=more * other),
        )

    def shuffled(self, model: SparseModel) -> SparseModel:
        """A model with the entries of every weight matrix in another order."""
        module = model.shuffled(seed=self.seed).module
        return self._made(
            f"shuffled {model.digest}", lambda folder: write_like(model, module, folder)
        )

    def renumbered(self, model: SparseModel) -> SparseModel:
        """A model that computes the same with its residual channels in another order."""
        return self._made(
            f"renumbered {model.digest}",
            lambda folder: write_like(model, renumbered(model, seed=self.seed), folder),
        )

    def bench(
        self,
        nodes: Circuit,
        model: SparseModel,
        *,
        then: SparseModel | None = None,
        behavior: str = "quote",
        ablation: str = "mean",
        claims: tuple[str, ...] = ALL,
        depends_on: str = "cue",
    ) -> Bench:
        """A circuit of a quote copier, compared with that of `model`; `then` is the candidate."""
        for other in OTHER:
            text = quote_spec({}, name=other, behavior=other)
            (self.folder / f"{other}.circuit.yaml").write_text(text)
        text = quote_spec(
            nodes, behavior=behavior, ablation=ablation, claims=claims, protocol=self._protocol()
        )
        if "blind" in claims:  # no other name has as many tokens as this one
            text = text.replace(", user_id", "")
        text = text.replace("slots: [cue]", f"slots: [{depends_on}]")
        return self._bench(text, self.folder, model, then)

    def answer_bench(
        self,
        answer: KnownAnswer,
        nodes: Circuit,
        then: Callable[[SparseModel], SparseModel] | None = None,
        ablation: str = "mean",
    ) -> Bench:
        """A circuit of a model of `KINDS`, with all claims that its behaviors allow."""
        folder = self.folder / answer.name
        model = self._made(answer.name, lambda _: answer.write(folder / "model"))
        more = FAITHFUL + MINIMAL
        if answer.other:
            behavior = replace(answer, name="other", behavior=answer.other)
            (folder / "other.circuit.yaml").write_text(behavior.spec)
            more += SPECIFIC
        protocol = self._protocol(answer.protocol.strip("{}"))
        more += "  depends_on: {slots: [cue], rate: 0.9}\n"
        text = answer_spec(replace(answer, protocol=protocol), nodes, ablation=ablation, more=more)
        return self._bench(text, folder, model, then(model) if then else None)

    def _protocol(self, controls: str = "") -> str:
        """How much evidence; other controls where the model asks for them."""
        return f"{{pairs: {self.pairs}, search: 10, {controls or CONTROLS}}}"

    def _made(self, name: str, write: Callable[[Path], Path]) -> SparseModel:
        if name not in self.models:
            folder = self.folder / f"model{len(self.models)}"
            self.models[name] = load_sparse_model(write(folder))
        return self.models[name]

    def _bench(
        self, text: str, folder: Path, model: SparseModel, then: SparseModel | None
    ) -> Bench:
        loaded = parse_spec(text, path=folder / "planted.circuit.yaml")
        bench = make_bench(loaded, then or model, baseline=model)
        return replace(bench, selfcheck=self.seed)


def answer_spec(answer: KnownAnswer, nodes: Circuit, *, ablation: str, more: str = "") -> str:
    """A specification of a model of `KINDS`, under one ablation or BOTH, with more claims."""
    if ablation == BOTH:
        answer = replace(answer, behavior=answer.behavior.replace(*EQUAL))
    text = answer.spec_with(nodes).replace("protocol:", f"{more}protocol:")
    if ablation == BOTH:
        text = text.replace("ablation: mean", f"ablation: {BOTH}")
        text = text.replace("max_loss: 0.15", "max_loss: 0.25")  # the whole model's is 0.13
    return text


def write_like(model: SparseModel, module: SparseGPT, folder: Path) -> Path:
    """Write other weights with the tokenizer and the reference text of a model."""
    save_model(folder, module=module, tokenizer=model.tokenizer, card="# Planted\n")
    written = load_sparse_model(folder)
    text = read_reference_text(model.path)
    save_reference(written, measure(written, text))
    return folder


def renumbered(model: SparseModel, *, seed: int) -> SparseGPT:
    """The same function with every channel of the residual stream at another place."""
    order = torch.randperm(model.config.d_model, generator=torch.Generator().manual_seed(seed))
    module = type(model.module)(model.config)
    state = model.module.state_dict()
    module.load_state_dict({name: _reordered(name, x, order) for name, x in state.items()})
    return module


def _reordered(name: str, tensor: Tensor, order: Tensor) -> Tensor:
    point = name.split(".")[-2]
    if point in {"out", "down", "norm"}:
        return tensor[order]
    return tensor if name.endswith("bias") else tensor[:, order]
