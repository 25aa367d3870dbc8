"""A model directory: configuration, weights, tokenizer and reference."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from pytest_circuits.errors import ModelError
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


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model: names its hook points and runs tokens with interventions at them."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    module: SparseGPT
    digest: str  # sha256 of config, tokenizer and weights; the same for the same content
    device: torch.device

    @property
    def hook_points(self) -> dict[str, int]:
        """Width of every hook point, in forward order."""
        return self.config.hook_points

    @property
    def max_tokens(self) -> int:
        """Longest prompt, in tokens."""
        return self.config.max_tokens

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of `tokenizer.json`."""
        return self.tokenizer.digest

    @property
    def description(self) -> str:
        """One line about the model."""
        c = self.config
        return f"{c.n_layer} layers, d_model {c.d_model}, vocabulary {c.vocab_size}"

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self.tokenizer.encode(text)

    def decode_token(self, index: int) -> str:
        """Text of one token."""
        return self.tokenizer.token(index)

    def edge_matrices(self) -> dict[tuple[str, str], Tensor]:
        """Weights [to, from] between the hook points of a sublayer: the possible edges.

        Gao et al. 2025, section 2: an edge is a nonzero weight that joins two nodes.
        """
        matrices = {}
        for layer, (attn, mlp) in enumerate(self.module.layers()):
            for point, linear in (("q", attn.q), ("k", attn.k), ("v", attn.v)):
                matrices[f"{layer}.attn.act_in", f"{layer}.attn.{point}"] = linear.weight
            matrices[f"{layer}.attn.v", f"{layer}.attn.resid_delta"] = attn.out.weight
            matrices[f"{layer}.mlp.act_in", f"{layer}.mlp.post_act"] = mlp.up.weight
            matrices[f"{layer}.mlp.post_act", f"{layer}.mlp.resid_delta"] = mlp.down.weight
        return matrices

    def __repr__(self) -> str:
        return f"Model({self.path.name}, {self.digest[:12]})"


def load_model(path: Path, *, device: str | torch.device = "cpu") -> Model:
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
    tensors, _ = read_tensors(path / WEIGHTS, max_bytes=most)
    check_shapes(tensors, expected, path / WEIGHTS)
    digest = digest_tensors(tensors, _canonical(config), tokenizer.digest)
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    module.load_state_dict(weights, strict=True, assign=True)
    module.requires_grad_(requires_grad=False).eval().to(device)
    if torch.device(device).type == "cpu":
        use_sparse_products(module)
    return Model(path, config, tokenizer, module, digest, torch.device(device))


def save_model(
    path: Path,
    *,
    module: SparseGPT,
    tokenizer: Tokenizer,
    card: str,
    parent: str | None = None,
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
    pickled = sorted(p.name for p in path.iterdir() if p.suffix in {".pt", ".pth", ".bin", ".ckpt"})
    hint = (
        f" ({pickled[0]} is a pickled checkpoint, which is never loaded; save it as safetensors)"
        if WEIGHTS in missing and pickled
        else ""
    )
    raise ModelError(f"{path}: not a model directory: {', '.join(missing)} is missing{hint}")


def _load_config(path: Path) -> ModelConfig:
    content = read_bounded(path, max_bytes=MAX_CONFIG_BYTES, error=ModelError)
    values = parse_json(content, source=str(path), error=ModelError)
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()
        )
        raise ModelError(f"{path}: not a model configuration:\n{problems}") from error


def _canonical(config: ModelConfig, *, indent: int | None = None) -> str:
    return json.dumps(config.model_dump(), sort_keys=True, indent=indent)
