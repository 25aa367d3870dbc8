"""Models divided by places: exactly the named tokens are ablated, in every kind of model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_circuits.circuit.divided import by_place, nodes_of, spread
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View, keep_masks
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import (
    Gauge,
    Hook,
    Kind,
    Model,
    Overlapping,
    Site,
    undivided,
)
from pytest_circuits.model.reference import Reference, measure
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation, Given
from pytest_circuits.spec.load import parse_spec
from pytest_circuits.spec.types import Spec
from tests.known_models import (
    DETECT,
    OUT,
    QUOTE_PATH,
    TYPE,
    Circuit,
    quote_spec,
    write_quote_copier,
)

PLACED: Circuit = {
    "0.attn.act_in at cue": [DETECT, TYPE],
    "0.attn.k at cue": [0],
    "0.attn.v at cue": [0],
    "0.attn.resid_delta at last": [OUT],
    "final_resid at last": [OUT],
}
WRONG = {name.replace(" at cue", " at words"): nodes for name, nodes in PLACED.items()}
ROLES = ("cue", "name", "text", "words")  # the last token is one of the words


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("model") / "copier"))


def spec_of(nodes: Mapping[str, Any], **options: str) -> Spec:
    return parse_spec(quote_spec(nodes, **options), path=Path("q.circuit.yaml")).spec


def runner_of(model: Model, spec: Spec, ablation: Ablation = Ablation.MEAN) -> Runner:
    return Runner(by_place(model, spec), load_reference(model), ablation)


def pairs_of(spec: Spec) -> tuple[Pair, ...]:
    return PromptSpace(spec.behavior).sample(30, seed=3)


class Bare:
    """A model without weights, that keeps what is put at its sites; zero is there before."""

    path, digest, tokenizer_digest, description = Path("bare"), "bare", "bare", "bare"
    device, max_tokens, vocab_size = torch.device("cpu"), 64, 10_000
    sites: ClassVar = {
        "a": Site(3, Kind.HEAD, 0, "head", channels=2),
        "b": Site(4, Kind.RESIDUAL, None, "b"),
    }
    gauges: ClassVar[Mapping[str, Gauge]] = {}

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.kept: dict[str, Tensor] = {}

    def encode(self, text: str) -> list[int]:
        found = re.findall(r" ?\w+|[^\w ]| (?=\W)", text)
        return [self.words.setdefault(word, 1 + len(self.words)) for word in found]

    def decode_token(self, index: int) -> str:
        return next(word for word, i in self.words.items() if i == index)

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),  # noqa: ARG002  (it has none)
    ) -> Tensor:
        for name, site in self.sites.items() if hook else ():
            length = 1 if name == "b" and at is not None else tokens.shape[1]
            x = torch.zeros(len(tokens), length, site.width * site.channels)
            assert hook is not None
            self.kept[name] = hook(name, x)
        return torch.zeros(len(tokens), self.vocab_size)

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        self.run(tokens, hook)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_circuit_keeps_is_exactly_what_its_complement_ablates(seed: int) -> None:
    rng, bare = np.random.default_rng(seed), Bare()
    named = {"a at cue": 3, "a at last": 3, "a": 3, "b at last": 4, "b": 4}
    nodes = {name: tuple(np.flatnonzero(rng.random(n) < 0.4)) for name, n in named.items()}
    nodes["a"] = tuple({*nodes["a"]} - {*nodes["a at cue"], *nodes["a at last"]})
    nodes["b"] = tuple({*nodes["b"]} - {*nodes["b at last"]})
    spec = spec_of({name: [int(i) for i in some] for name, some in nodes.items() if some})
    model = by_place(bare, spec)
    prompts = [pair.first for pair in PromptSpace(spec.behavior).sample(8, seed=seed)]
    batch = Encoder(model).batch(prompts, rows=8)
    circuit = nodes_of(spec)
    fill = {name: torch.ones(site.width * site.channels) for name, site in model.sites.items()}

    views = [View.circuit(circuit), View.without(circuit), WHOLE]
    run_circuits(model, batch.tokens, at=batch.last, keep=keep_masks(views, model), fill=fill)

    for name, x in bare.kept.items():
        alone, without, whole = x.view(3, 8, *x.shape[1:]).bool()
        assert not whole.any()
        here = (torch.arange(x.shape[1]) <= batch.last[:, None])[..., None]
        assert torch.equal(alone & here, ~without & here), name


def test_nodes_count_at_their_tokens_and_nowhere_else() -> None:
    bare = Bare()
    spec = spec_of({"a at words": [1], "a": [2], "b at cue": [0]})
    model = by_place(bare, spec)
    (pair,) = PromptSpace(spec.behavior).parse("x = 'alpha beta")
    prompt = next(each for each in (pair.first, pair.second) if "'" in each.text)
    batch = Encoder(model).batch([prompt], rows=1)
    fill = {name: torch.ones(site.width * site.channels) for name, site in model.sites.items()}

    views = [View.without(nodes_of(spec))]
    run_circuits(model, batch.tokens, at=batch.last, keep=keep_masks(views, model), fill=fill)

    tokens = [bare.decode_token(int(i)) for i in batch.tokens[0, :6]]
    assert tokens == ["x", " ", "=", " ", "'", "alpha"]
    words, everywhere = bare.kept["a"][0, :7, 2], bare.kept["a"][0, :7, 4]
    assert words.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert everywhere.tolist() == [1] * 7
    assert not bare.kept["b"].any()  # of which the last token alone is computed


def test_all_places_are_as_none(copier: SparseModel) -> None:
    by_roles = {
        f"{name} at {role}": channels for name, channels in QUOTE_PATH.items() for role in ROLES
    }
    plain, divided = spec_of(QUOTE_PATH), spec_of(by_roles)
    pairs, circuit = pairs_of(plain), nodes_of(divided)
    for ablation in (Ablation.MEAN, Ablation.CONTRAST, Ablation.RESAMPLE):
        whole, parts = runner_of(copier, plain, ablation), runner_of(copier, divided, ablation)
        for one, other in (
            (View.circuit(nodes_of(plain)), View.circuit(circuit)),
            (View.without(nodes_of(plain)), View.without(circuit)),
            (WHOLE, WHOLE),
            (View.circuit(all_nodes(copier)), View.circuit(all_nodes(parts.model))),
        ):
            np.testing.assert_allclose(
                parts.margins(pairs, other), whole.margins(pairs, one), atol=1e-4
            )


def test_the_circuit_at_the_true_places_does_the_task_and_at_others_not(
    copier: SparseModel,
) -> None:
    spec, wrong = spec_of(PLACED), spec_of(WRONG)
    pairs = pairs_of(spec)
    there, elsewhere = runner_of(copier, spec), runner_of(copier, wrong)

    whole = there.margins(pairs, WHOLE)
    assert (there.margins(pairs, View.circuit(nodes_of(spec))) > whole / 2).all()
    assert there.margins(pairs, View.without(nodes_of(spec))).mean() < whole.mean() / 50
    assert elsewhere.margins(pairs, View.circuit(nodes_of(wrong))).mean() < whole.mean() / 50
    only_read = {name: nodes for name, nodes in WRONG.items() if "words" in name}
    left = elsewhere.margins(pairs, View.without(Nodes.of(only_read)))
    np.testing.assert_allclose(left, whole, atol=0.2)


def test_a_prompt_scores_the_same_whatever_it_is_padded_to(copier: SparseModel) -> None:
    spec = spec_of(PLACED)
    circuit, pairs = nodes_of(spec), pairs_of(spec)
    for ablation in (Ablation.MEAN, Ablation.CONTRAST):
        views = [View.circuit(circuit), View.without(circuit)]
        together = runner_of(copier, spec, ablation).margins_many(pairs, views)
        alone = runner_of(copier, spec, ablation)
        one_by_one = np.concatenate([alone.margins_many([p], views) for p in pairs], axis=1)
        np.testing.assert_allclose(together, one_by_one, atol=1e-5)


def test_in_text_a_node_is_ablated_at_all_tokens(copier: SparseModel) -> None:
    spec, plain = spec_of(PLACED), spec_of(QUOTE_PATH)
    model, reference = by_place(copier, spec), load_reference(copier)
    tokens = reference.tokens[:4]
    whole = Nodes.of({name.partition(" at ")[0]: nodes for name, nodes in PLACED.items()})

    def losses(model: Model, nodes: Nodes) -> Tensor:
        fill = Ablation.MEAN.kind.fill(Given(spread(reference, model)))
        keep = keep_masks([View.without(nodes)], model)
        return run_circuits(model, tokens, at=None, keep=keep, fill=fill)

    torch.testing.assert_close(losses(model, nodes_of(spec)), losses(copier, whole))
    assert undivided(model) is copier
    assert by_place(copier, plain) is copier


def test_signals_are_of_the_tokens_at_which_a_node_counts(copier: SparseModel) -> None:
    spec = spec_of({**PLACED, "0.attn.act_in at text": [TYPE]})
    runner, plain = runner_of(copier, spec), runner_of(copier, spec_of(QUOTE_PATH))
    pairs = pairs_of(spec)[:4]

    signals = runner.signals(pairs, Nodes.of({"0.attn.act_in at cue": [TYPE]}))
    every = plain.signals(pairs, Nodes.of({"0.attn.act_in": [TYPE]}))

    kept = np.isclose(signals, every) & (every != 0)
    assert kept.sum() == 2 * len(pairs)  # one token of each prompt is its cue
    assert np.allclose(signals[~kept], signals[kept].mean(), atol=1e-6)
    (distance,) = runner.apart(pairs, Nodes.of({"0.attn.act_in at text": [TYPE]}))
    (at_cue,) = runner.apart(pairs, Nodes.of({"0.attn.act_in at cue": [TYPE]}))
    assert distance < at_cue


def _reference(model: Model) -> Reference:
    tokens = torch.randint(0, model.vocab_size, (4, 24), generator=torch.Generator().manual_seed(1))
    return measure(model, tokens)


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize("site", ["0.attn.head", "0.mlp.neuron", "0.attn.kv", "1.resid"])
def test_a_model_of_transformers_is_changed_at_that_token_only(
    family: str, site: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    from tests.huggingface.families import make, save  # noqa: PLC0415

    whole = load_model(save(make(family), tmp_path / "model"))
    assert hasattr(whole, "among")
    point = site.partition(".")[2]
    model: Model = whole.among([point])
    spec = parse_spec(
        "version: 1\ncircuit: x\nmodel: x\nbehavior:\n"
        '  prompt: "w9 {cue} {filling} w8"\n'
        "  slots: {filling: {words: {from: [w3, w4], count: [1, 9]}}}\n"
        "  contrast: {cue: {w5: ' w1', w6 w7: ' w2'}}\nablation: zero\n"
        f"sites: [{point}]\nnodes:\n  {site} at cue: [1]\nclaims: {{behaves: {{rate: 0.9}}}}\n",
        path=Path("x.circuit.yaml"),
    ).spec
    divided, node = by_place(model, spec), nodes_of(spec)
    prompts = [
        p
        for pair in PromptSpace(spec.behavior).sample(5, seed=2)
        for p in (pair.first, pair.second)
    ]
    batch = Encoder(divided).batch(prompts, rows=len(prompts))
    cues = (batch.tokens >= 5) & (batch.tokens <= 7)
    channels = model.sites[site].channels

    def by_hand(name: str, x: Tensor) -> Tensor:
        if name != site:
            return x
        x = x.clone()
        x[..., channels : 2 * channels][cues] = 0
        return x

    reference = spread(_reference(model), divided)
    found = run_circuits(
        divided,
        batch.tokens,
        at=batch.last,
        keep=keep_masks([View.without(node)], divided),
        fill=Ablation.ZERO.kind.fill(Given(reference)),
    )[0]

    wanted = model.run(batch.tokens, by_hand, at=batch.last)
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, model.run(batch.tokens, at=batch.last))
    for row, prompt in enumerate(prompts):  # and each alone, without padding
        one = Encoder(divided).batch([prompt], rows=1)
        alone = run_circuits(
            divided,
            one.tokens,
            at=one.last,
            keep=keep_masks([View.without(node)], divided),
            fill=Ablation.ZERO.kind.fill(Given(reference)),
        )[0]
        torch.testing.assert_close(found[row], alone[0], atol=1e-5, rtol=1e-5)


def test_a_module_with_a_tokenizer_of_its_own_is_changed_at_that_token_only() -> None:
    pytest.importorskip("transformers")
    from tests.handed.test_hand_over import handed  # noqa: PLC0415
    from tests.huggingface.side import spec as side  # noqa: PLC0415

    whole = handed()
    nodes = {"0.attn.head at last": [5], "1.attn.head at last": [11]}
    spec = parse_spec(side(nodes=nodes), path=Path("side.circuit.yaml")).spec
    assert isinstance(whole, Overlapping)
    model = whole.among(["attn.head"])
    runner = Runner(by_place(model, spec), _reference(model), Ablation.MEAN)
    pairs = pairs_of(spec)

    margins = runner.margins(pairs, WHOLE)
    assert (runner.margins(pairs, View.circuit(nodes_of(spec))) > margins / 2).all()
    assert runner.margins(pairs, View.without(nodes_of(spec))).mean() < margins.mean() / 50
    elsewhere = Nodes.of({"0.attn.head elsewhere": [5], "1.attn.head elsewhere": [11]})
    np.testing.assert_allclose(runner.margins(pairs, View.without(elsewhere)), margins, atol=0.05)
