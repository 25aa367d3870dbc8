"""Pairs that are learnt beside the text: what their answers hang on gets fewer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.errors import UsageError
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import parse_spec
from pytest_circuits.train.behaviors import Tokens
from pytest_circuits.train.config import Pairs, TrainConfig
from pytest_circuits.train.distributed import World
from pytest_circuits.train.job import prepared
from pytest_circuits.train.pairs import Effects, encoded, exchanged
from pytest_circuits.train.run_folder import RunFolder
from tests.known_models import (
    BIAS,
    BIAS_NODE,
    OUT,
    QUOTE_PATH,
    WEAK_PATH,
    Weights,
    quote_spec,
    write_quote_copier,
)
from tests.train.conftest import Train
from tests.train.test_evaluation import BEHAVIOR

PAIRS = "{behaviors: [quote.circuit.yaml], drawn: 1, pairs: 2}"
LONGER = {"steps": "60", "checkpoints": "{every: 30}"}


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    """A specification beside the recipe."""
    path = tmp_path / "quote.circuit.yaml"
    path.write_text(BEHAVIOR.replace(")", ""))  # a quote alone is a token of any vocabulary
    return path


def test_effects_are_those_of_the_known_circuit(tmp_path: Path) -> None:
    """A first-order estimate, held to what ablating each node alone really does."""
    model = load_sparse_model(write_quote_copier(tmp_path / "model", Weights(bias=2.0)))
    reference = load_reference(model)
    spec = parse_spec(quote_spec(QUOTE_PATH), path=tmp_path / "quote_close.circuit.yaml").spec
    pairs = PromptSpace(spec.behavior).sample(16, seed=0)
    model.module.requires_grad_()
    reader = Tokens(model.tokenizer, model.max_tokens, model.device)
    effects = Effects.of(model.module, encoded(pairs, reader), reference.mean)

    whole = Runner(model, reference, Ablation.MEAN).margins(pairs, WHOLE)
    assert effects.margins.tolist() == pytest.approx(whole.ravel().tolist(), rel=1e-5)
    for nodes, estimates, ablation in (
        (QUOTE_PATH, effects.by_cue, Ablation.CONTRAST),
        (WEAK_PATH, effects.by_cue, Ablation.CONTRAST),
        (QUOTE_PATH, effects.by_text, Ablation.MEAN),
        (BIAS_NODE, effects.by_text, Ablation.MEAN),
    ):
        runner = Runner(model, reference, ablation)
        for name in {"0.attn.v", "0.attn.resid_delta", "final_resid"} & nodes.keys():
            (index,) = nodes[name]
            without = runner.margins(pairs, View.without(Nodes.of({name: [index]})))
            lost = abs(whole - without).mean()
            estimate = float(estimates[name][:, index].detach().mean())
            assert estimate == pytest.approx(lost, rel=0.5, abs=0.05), (ablation, name)
    by_text, by_cue = (x["final_resid"].detach() for x in (effects.by_text, effects.by_cue))
    assert float(by_text[:, BIAS].mean()) > 0.5  # no cue's, but the text's:
    assert float(by_cue[:, BIAS].mean()) < 0.01
    assert float(by_cue[:, OUT].mean()) > 1


def test_tokens_are_exchanged_where_cues_have_different_numbers_of_them(tmp_path: Path) -> None:
    model = load_sparse_model(write_quote_copier(tmp_path / "model"))
    reader = Tokens(model.tokenizer, model.max_tokens, model.device)
    text = quote_spec(QUOTE_PATH)
    pairs = PromptSpace(parse_spec(text, path=tmp_path / "q.yaml").spec.behavior).sample(3, seed=0)
    _, none = exchanged(encoded(pairs, reader))
    assert not len(none)  # each of them is its partner

    longer = text.replace("""'"': '"'""", """'""': '"'""")  # two tokens where the other has one
    spec = parse_spec(longer, path=tmp_path / "q.yaml").spec
    prompts = encoded(PromptSpace(spec.behavior).sample(3, seed=0), reader)
    tokens, rows = exchanged(prompts)
    assert rows.tolist() == [*range(6)]
    single, first, second = (model.encode(f"x = {cue}")[-1] for cue in ("'", '"', '""'))
    cue = {single: second, first: single, second: single}
    for row, prompt, last in zip(tokens, prompts.tokens, prompts.last, strict=True):
        expected = [cue.get(token, token) for token in prompt.tolist()]
        assert row.tolist()[: last + 1] == expected[: last + 1]


def test_answers_hang_on_fewer_nodes_the_more_these_cost(
    quotes: Path, run_train: Train, out: Path
) -> None:
    counts = []
    for price in (0.0, 0.2):
        pairs = PAIRS.replace("pairs: 2", f"pairs: 6, cue_price: {price}, text_price: 0")
        result = run_train(**LONGER, pairs=pairs, optimizer="{lr: 0.02}")
        assert result.exit_code == 0, result.output
        counts.append(_nodes(out, quotes))
        out.rename(out.with_name(f"at_{price}"))
    assert counts[1] < 0.7 * counts[0]


def _nodes(model_path: Path, spec_path: Path) -> float:
    """How many nodes the answers of a trained model hang on, one of 0.1 nats being a half."""
    model = load_sparse_model(model_path)
    spec = parse_spec(spec_path.read_text(), path=spec_path).spec
    model.module.requires_grad_()
    pairs = [pair for pair, _ in PromptSpace(spec.behavior).enumerate()]
    reader = Tokens(model.tokenizer, model.max_tokens, model.device)
    effects = Effects.of(model.module, encoded(pairs, reader), load_reference(model).mean)
    means = [x.mean(0).detach() for x in effects.by_cue.values()]
    return sum(float((x / (x + 0.1)).sum()) for x in means)


def test_a_run_with_pairs_that_was_stopped_goes_on_to_the_same_weights(
    quotes: Path, run_train: Train, out: Path
) -> None:
    assert quotes.exists()
    assert run_train(pairs=PAIRS).exit_code == 0
    through = load_file(out / "model.safetensors")
    state = out.with_name("tiny.training")
    for last in state.glob("checkpoint-00000012*"):
        last.rename(last.with_name("gone"))
    out.rename(out.with_name("through"))
    result = run_train("--resume", pairs=PAIRS)
    assert result.exit_code == 0, result.output
    for name, tensor in load_file(out / "model.safetensors").items():
        assert torch.equal(tensor, through[name]), name


def test_the_card_says_what_was_learnt_and_the_loss_is_of_text(
    quotes: Path, run_train: Train, out: Path
) -> None:
    assert quotes.exists()
    assert run_train(pairs=PAIRS.replace("pairs: 2", "pairs: 2, task_weight: 100")).exit_code == 0
    card = (out / "README.md").read_text()
    assert "| pairs | beside the text, prompts of `quote.circuit.yaml`, 2 pairs of 1 " in card
    lines = (out.with_name("tiny.training") / "metrics.jsonl").read_text().splitlines()
    losses = [entry["loss"] for line in lines if "loss" in (entry := json.loads(line))]
    assert max(losses) < 7  # the logarithm of 400 tokens is 6


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("{behaviors: []}", "must be a list of 1 to 1,000 texts"),
        ("{behaviors: [other.circuit.yaml]}", "pairs.behaviors: "),
        ("{behaviors: [quote.circuit.yaml], price: 1}", "price"),
    ],
)
def test_pairs_that_cannot_be_learnt_are_named(
    quotes: Path, run_train: Train, pairs: str, message: str
) -> None:
    assert quotes.exists()
    result = run_train(pairs=pairs)
    assert result.exit_code in {2, 4}
    assert message in result.output


def test_answers_that_are_no_token_of_the_run_are_named(quotes: Path, run_train: Train) -> None:
    quotes.write_text(BEHAVIOR)
    result = run_train(pairs=PAIRS)
    assert result.exit_code == 4
    assert "pairs.behaviors cannot be asked with the tokenizer of this run" in result.output


def test_several_processes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    config = TrainConfig(pairs=Pairs(behaviors=("nowhere.circuit.yaml",)))
    world = World(torch.device("cpu"), rank=0, size=2)
    with pytest.raises(UsageError, match="pairs are learnt by one process"):
        prepared(config, RunFolder(tmp_path / "out"), world, base=tmp_path)
