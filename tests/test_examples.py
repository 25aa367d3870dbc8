"""`examples/release_gate`: its gate is green, and its zoo does to the weights what it says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from pytest_circuits.model.open import load_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.spec.load import load_spec
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.data.mixture import Mixture
from pytest_circuits.train.sparsity import nonzeros
from tests.known_models.quote import quote_copier
from tests.loaded import check_once

SCRIPT = Path(__file__).parent.parent / "examples" / "release_gate" / "make_zoo.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_zoo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_zoo"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def zoo(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401
    """A model whose circuit is known, before anything is made of it."""
    folder, known = tmp_path_factory.mktemp("zoo"), quote_copier(0)
    (folder / "quote.circuit.yaml").write_text(known.spec_with(known.nodes))
    base = load_model(known.write(folder / "model"))
    spec = load_spec(folder / "quote.circuit.yaml").spec
    text = Mixture({"text": np.zeros(100, np.int64)}, {"text": 1.0})
    return script.Zoo(base, (spec,), TrainConfig(), text, None)


def _module(zoo: Any, state: dict[str, torch.Tensor]) -> SparseGPT:  # noqa: ANN401
    module = SparseGPT(zoo.base.config)
    module.load_state_dict(state)
    return module


def test_the_gate_is_green(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the model that its baseline was recorded from, as it is committed."""
    monkeypatch.chdir(SCRIPT.parent)
    monkeypatch.setattr("pytest_circuits.gate.loading.check_reference", check_once)

    result = pytester.runpytest_inprocess("--circuits", "-p", "no:cacheprovider")

    result.assert_outcomes(passed=4)


def test_the_table_names_every_update_once_and_what_the_gate_should_say(script: ModuleType) -> None:
    names = [member.name for member in script.MEMBERS]
    assert len(names) == len(set(names)) == 12
    counted = [member.gate for member in script.MEMBERS if member.counted]
    assert sorted(counted) == ["no pass"] * 4 + ["pass"] * 6


def test_permuted_is_the_same_function_with_other_channels(script: ModuleType, zoo: Any) -> None:  # noqa: ANN401
    state = script.permuted(zoo)  # which compares the logits
    assert nonzeros(_module(zoo, state)) == nonzeros(zoo.base.module)
    moved = [n for n, x in zoo.base.module.named_parameters() if not torch.equal(state[n], x)]
    assert {"attn.0.q.weight", "attn.1.out.weight", "mlp.0.up.weight", "embed.weight"} < set(moved)


def test_rounding_leaves_so_many_values_a_channel(script: ModuleType, zoo: Any) -> None:  # noqa: ANN401
    weight = script.int4(zoo)["unembed.weight"]
    assert max(len(row.unique()) for row in weight) <= 15
    assert script.accuracies(zoo, _module(zoo, script.int8(zoo))) == {"quote_close": 1.0}


def test_pruning_leaves_its_share_of_the_weights(script: ModuleType, zoo: Any) -> None:  # noqa: ANN401
    before = nonzeros(zoo.base.module)
    for name, count in nonzeros(_module(zoo, script.pruned_lightly(zoo))).items():
        assert 0.95 * before[name] - 1 <= count <= before[name]


def test_the_weights_that_are_sabotaged_are_those_that_the_behavior_needs(
    script: ModuleType,
    zoo: Any,  # noqa: ANN401
) -> None:
    masks = script.outside(zoo)
    module = _module(zoo, zoo.base.module.state_dict())
    script.destroy(module, masks)
    assert script.accuracies(zoo, module)["quote_close"] < 0.9
    cut = sum(int((mask == 0).sum()) for mask in masks.values())
    assert cut < 0.1 * sum(mask.numel() for mask in masks.values())
