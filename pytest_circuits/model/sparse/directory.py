"""The directory of a weight-sparse GPT: configuration, weights and tokenizer."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import torch
from pydantic import ValidationError

from pytest_circuits.errors import ModelError, told
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.sparse.sparse_linear import use_sparse_products
from pytest_circuits.model.tensor_file import (
    MAX_HEADER_BYTES,
    check_shapes,
    digest_tensors,
    read_tensors,
    write_tensors,
)
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MAX_CONFIG_BYTES = 2**20
_PARENT = re.compile(r'"parent": "([0-9a-f]{64})"')


def load_sparse_model(path: Path, *, device: str | torch.device = "cpu") -> SparseModel:
    """Load a model directory; ModelError says which file is wrong and how."""
    _check_directory(path)
    config = _load_config(path / CONFIG)
    tokenizer = load_tokenizer(path / TOKENIZER)
    if tokenizer.vocab_size > config.vocab_size:
        raise ModelError(
            f"{path / TOKENIZER}: has {tokenizer.vocab_size} tokens, but the model's vocabulary "
            f"in {CONFIG} is {config.vocab_size}"
        )
    with torch.device("meta"):
        module = SparseGPT(config)
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    most = 8 * sum(shape.numel() for shape in expected.values()) + MAX_HEADER_BYTES
    tensors, metadata = read_tensors(path / WEIGHTS, max_bytes=most)
    check_shapes(tensors, expected, path / WEIGHTS, shared=metadata)
    digest = digest_tensors(tensors, _canonical(config), tokenizer.digest)
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    module.load_state_dict(weights, strict=True, assign=True)
    module.requires_grad_(requires_grad=False).eval().to(device)
    if torch.device(device).type == "cpu":
        use_sparse_products(module)
    known = _PARENT.search(str(metadata.get("pytest_circuits")))  # as `save_model` wrote it
    parent = known[1] if known else ""
    return SparseModel(path, config, tokenizer, module, digest, torch.device(device), parent)


def save_model(
    path: Path, *, module: SparseGPT, tokenizer: Tokenizer, card: str, parent: str | None = None
) -> None:
    """Write a model directory's files, the weights last.

    parent: digest of the model that this one was made from; it stands in the metadata of the
    weights, which the digest of a model leaves out.
    """
    write_atomic(path / CONFIG, (_canonical(module.config, indent=2) + "\n").encode())
    tokenizer.save(path / TOKENIZER)
    write_atomic(path / "README.md", card.encode())
    metadata = {"format": "pytest-circuits model"} | ({"parent": parent} if parent else {})
    write_tensors(path / WEIGHTS, module.state_dict(), metadata)


def _check_directory(path: Path) -> None:
    if not os.path.isdir(path):  # noqa: PTH112  (bears any name)
        raise ModelError(f"{path}: no such model directory")
    missing = [name for name in (CONFIG, WEIGHTS, TOKENIZER) if not (path / name).exists()]
    if not missing:
        return
    other = _weights_elsewhere(path) if WEIGHTS in missing else ""
    hint = f" ({other})" if other else ""
    raise ModelError(f"{path}: not a model directory: {', '.join(missing)} is missing{hint}")


def _weights_elsewhere(path: Path) -> str:
    """What else of weights lies in a directory, and what to do with it; empty: nothing."""
    shards = path / f"{WEIGHTS}.index.json"
    if shards.exists():
        return f"{shards.name} lists shards; save all their tensors in one {WEIGHTS}"
    pickled = sorted(p.name for p in path.iterdir() if p.suffix in {".pt", ".pth", ".bin", ".ckpt"})
    if not pickled:
        return ""
    return f"{pickled[0]} is a pickled checkpoint, which is never loaded; save it as safetensors"


def _load_config(path: Path) -> ModelConfig:
    content = read_bounded(path, max_bytes=MAX_CONFIG_BYTES, error=ModelError)
    values = parse_json(content, source=str(path), error=ModelError)
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        problems = told(
            f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()
        )
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ModelError(f"{path}: not a model configuration:\n{listed}") from error


def _canonical(config: ModelConfig, *, indent: int | None = None) -> str:
    return json.dumps(config.model_dump(), sort_keys=True, indent=indent)
