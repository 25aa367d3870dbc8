"""SparseModel directories: what is written is read back, and everything out of order is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Backend

from pytest_circuits.errors import ModelError
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import REFERENCE, load_reference, save_reference
from pytest_circuits.model.sparse.directory import WEIGHTS, load_sparse_model
from tests.known_models import write_quote_copier


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quote_copier(tmp_path_factory.mktemp("model") / "copier")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copier"))


def _edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / WEIGHTS)
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, folder / WEIGHTS)


def _refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_sparse_model(folder)
    return str(caught.value)


def _with_header(path: Path, header: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_the_digest_is_that_of_the_content(folder: Path, original: Path) -> None:
    assert load_sparse_model(folder).digest == load_sparse_model(original).digest
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors, folder / WEIGHTS, metadata={"a": "1", "b": "2"})  # other bytes, same weights
    assert load_sparse_model(folder).digest == load_sparse_model(original).digest
    tensors["unembed.bias"][0] += 1e-3
    save_file(tensors, folder / WEIGHTS)
    assert load_sparse_model(folder).digest != load_sparse_model(original).digest


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing" in _refusal(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "no such model directory" in _refusal(tmp_path / "nowhere")


def test_a_truncated_checkpoint_is_refused(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])
    assert str(folder / WEIGHTS) in _refusal(folder)


def test_a_pickled_checkpoint_is_refused_without_being_loaded(folder: Path) -> None:
    trap = folder / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    (folder / WEIGHTS).write_bytes(pickle.dumps(Payload(), protocol=4))
    assert "pickled checkpoint" in _refusal(folder)
    torch.save({"w": torch.zeros(2)}, folder / WEIGHTS)
    assert "pickled checkpoint" in _refusal(folder)
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickled checkpoint" in _refusal(folder)
    assert not trap.exists()


def test_an_oversized_header_is_refused_before_it_is_parsed(folder: Path) -> None:
    _with_header(folder / WEIGHTS, b'{"a":' + b" " * (17 * 2**20) + b"0}")
    assert "header" in _refusal(folder) or "larger than" in _refusal(folder)


def test_a_header_with_a_tensor_twice_is_refused(folder: Path) -> None:
    entry = json.dumps({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    _with_header(folder / WEIGHTS, f'{{"a": {entry}, "a": {entry}}}'.encode())
    assert "'a' stands twice" in _refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(folder: Path, value: float) -> None:
    bias = load_file(folder / WEIGHTS)["unembed.bias"]
    bias[3] = value
    _edit_weights(folder, unembed__bias=bias)
    assert "tensor 'unembed.bias' holds NaN or infinity" in _refusal(folder)


def test_all_differences_of_shape_are_listed_at_once(folder: Path) -> None:
    _edit_weights(folder, unembed__bias=torch.zeros(3), norm__weight=None, extra=torch.zeros(1))
    message = _refusal(folder)
    assert "missing tensor 'norm.weight'" in message
    assert "unexpected tensor 'extra'" in message
    assert "'unembed.bias' has shape [3]" in message


@pytest.mark.parametrize(
    ("named", "rename"),
    [
        ("_orig_mod.{}", ".replace('_orig_mod.', '')"),
        ("module._orig_mod.{}", ".replace('module.', '').replace('_orig_mod.', '')"),
        ("network.{}", ".replace('network.', '')"),
    ],
)
def test_names_of_a_wrapped_model_are_refused_with_the_way_out(
    folder: Path, named: str, rename: str
) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({named.format(name): x for name, x in tensors.items()}, folder / WEIGHTS)
    (message,) = _refusal(folder).splitlines()
    assert f"holds '{named.format('attn.0.k.bias')}' for 'attn.0.k.bias'" in message
    assert f"{{name{rename}: tensor for name, tensor in model.state_dict().items()}}" in message


def test_names_of_compiled_parts_of_a_model_are_refused_with_the_way_out(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    inner = {name.replace("attn.1.", "attn.1._orig_mod."): x for name, x in tensors.items()}
    save_file(inner, folder / WEIGHTS)
    (message,) = _refusal(folder).splitlines()
    assert "holds 'attn.1._orig_mod.k.bias' for 'attn.1.k.bias'" in message


def test_a_tensor_that_shares_memory_is_missed_with_the_name_that_holds_it(folder: Path) -> None:
    """Hugging Face transformers 38870, keras-hub 3075: `save_model` leaves tied tensors out."""
    tensors = load_file(folder / WEIGHTS)
    del tensors["unembed.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"unembed.weight": "embed.weight"})
    assert (
        "missing tensor 'unembed.weight', which shares memory with 'embed.weight'; save a clone"
    ) in _refusal(folder)


def test_weights_in_shards_are_refused_with_what_to_do(folder: Path) -> None:
    """Hugging Face transformers 24683: what was one file is saved as several."""
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text("{}")
    assert _refusal(folder).endswith(
        "model.safetensors is missing (model.safetensors.index.json lists shards; save all their "
        "tensors in one model.safetensors)"
    )


def test_padding_and_truncation_that_a_tokenizer_brings_do_nothing(folder: Path) -> None:
    """djl 2741, tokenizers 1151: prompts were cut and filled up, as `tokenizer.json` said."""
    text = "value = 'alpha beta gamma delta"
    usual = load_sparse_model(folder).encode(text)
    path = folder / "tokenizer.json"
    words = Backend.from_file(str(path))
    words.enable_truncation(max_length=3)
    words.enable_padding(length=40)
    words.save(str(path))
    assert load_sparse_model(folder).encode(text) == usual
    assert len(usual) > 3


def test_a_long_list_of_tensors_ends_with_how_many_more_there_are(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    others = {f"of_another_{number}": x for number, x in enumerate(tensors.values())}
    save_file(others, folder / WEIGHTS)
    first, *problems, last = _refusal(folder).splitlines()
    assert first.endswith("does not fit config.json:")
    assert len(problems) == 20
    assert last == f"  ... and {2 * len(tensors) - 20} more problems"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "not JSON"),
        ('{"n_layer": 1, "n_layer": 2}', "'n_layer' stands twice"),
        ('{"n_layer": NaN}', "NaN is not a number"),
        ('{"n_layers": 2}', "n_layers"),
        ("[]", "expected a JSON object"),
    ],
)
def test_a_broken_configuration_is_refused(folder: Path, text: str, said: str) -> None:
    (folder / "config.json").write_text(text)
    assert said in _refusal(folder)


def test_a_tokenizer_that_is_none_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    assert "not a tokenizer" in _refusal(folder)


def test_a_named_pipe_does_not_block(folder: Path) -> None:
    import os  # noqa: PLC0415  (not everywhere)

    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    assert "not a regular file" in _refusal(folder)


def test_the_reference_belongs_to_one_model(folder: Path) -> None:
    assert (
        load_reference(load_sparse_model(folder)).model_digest == load_sparse_model(folder).digest
    )
    bias = load_file(folder / WEIGHTS)["unembed.bias"]
    _edit_weights(folder, unembed__bias=bias + 1)
    with pytest.raises(ModelError, match="was measured on another model"):
        load_reference(load_sparse_model(folder))
    (folder / REFERENCE).unlink()
    with pytest.raises(ModelError, match="pytest-circuits reference"):
        load_reference(load_sparse_model(folder))


def test_the_reference_holds_the_means_and_deviations_of_the_activations(folder: Path) -> None:
    model = load_sparse_model(folder)
    tokens = load_reference(model).tokens[:130]
    reference = measure(model, tokens)
    recorded: dict[str, torch.Tensor] = {}

    def record(name: str, x: torch.Tensor) -> torch.Tensor:
        recorded[name] = x.double()
        return x

    model.run(tokens, record)
    for hook, x in recorded.items():
        torch.testing.assert_close(reference.mean[hook].double(), x.mean((0, 1)), atol=1e-5, rtol=0)
        std = x.std((0, 1), correction=0)
        torch.testing.assert_close(reference.std[hook].double(), std, atol=1e-4, rtol=0)
    save_reference(model, reference)
    again = load_reference(model)
    assert all(torch.equal(again.mean[h], reference.mean[h]) for h in model.sites)


def test_weights_of_eight_bits_are_refused(folder: Path) -> None:
    _edit_weights(folder, unembed__bias=torch.zeros(3).to(torch.float8_e4m3fn))

    assert "'unembed.bias' has type torch.float8_e4m3fn" in _refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_directory_in_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()

    assert f"{name}: not a regular file" in _refusal(folder)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "no such model directory" in _refusal(tmp_path / ("x" * 300))


def test_reference_text_of_negative_tokens_is_refused(folder: Path) -> None:
    path = folder / REFERENCE
    tensors = load_file(path)
    tensors["tokens"][0, 0] = -1
    save_file(tensors, path)

    with pytest.raises(ModelError, match="holds no reference text"):
        load_reference(load_sparse_model(folder))


@pytest.mark.parametrize("kind", ["mean", "std", "bank"])
def test_a_reference_is_held_to_what_a_channel_does_however_small(
    original: Path, kind: str
) -> None:
    reference = load_reference(load_sparse_model(original))
    for tensors in (reference.mean, reference.std, reference.bank):
        for tensor in tensors.values():
            tensor.mul_(1e-9)
    edited = deepcopy(reference)
    channel = int(reference.std["final_resid"].argmax())
    getattr(edited, kind)["final_resid"][..., channel] = 1e-6

    assert reference.departure(reference) is None
    assert str(edited.departure(reference)).startswith(f"{kind} of final_resid")
