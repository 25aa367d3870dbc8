"""A published model's folder as a model directory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest_circuits
from pytest_circuits.convert.published import PublishedConfig, read_published_config
from pytest_circuits.convert.reader import read_pickled
from pytest_circuits.convert.tokenizer import find_tokenizer, read_tokenizer
from pytest_circuits.convert.weights import most_bytes, our_model
from pytest_circuits.errors import ModelError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import measure_reference, text_windows
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import MAX_CONFIG_BYTES, save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.system.files import read_bounded, whole_directory

CONFIG, WEIGHTS = "beeg_config.json", "final_model.pt"


def convert_model(
    source: Path, out: Path, *, tokenizer: Path | None, text: Sequence[Path], command: str
) -> ModelConfig:
    """Write the model directory, which appears whole or not at all; returns what it holds."""
    content = read_bounded(source / CONFIG, max_bytes=MAX_CONFIG_BYTES, error=ModelError)
    config = read_published_config(content, source=str(source / CONFIG))
    words = read_tokenizer(
        find_tokenizer(source, tokenizer),
        encoding=config.tokenizer_name,
        vocab_size=config.vocab_size,
    )
    windows = text_windows(text, words.tokenizer.encode, length=config.block_size) if text else None
    with whole_directory(out.absolute()) as folder:
        module, digest = _weights(source / WEIGHTS, config, scratch=folder)
        files = {CONFIG: hashlib.sha256(content).hexdigest(), WEIGHTS: digest, **words.files}
        card = _card(out.absolute().name, module, config, files, command=command)
        save_model(folder, module=module, tokenizer=words.tokenizer, card=card)
        if windows is not None:
            measure_reference(load_model(folder), windows)
    return module.config


def _weights(path: Path, config: PublishedConfig, *, scratch: Path) -> tuple[SparseGPT, str]:
    state = read_pickled(path, max_bytes=most_bytes(config), scratch=scratch)
    if state.values:
        raise ModelError(f"{path}: {next(iter(state.values))!r} is no tensor; not a state dict")
    return our_model(state.tensors, config, source=str(path)), state.sha256


def _card(
    name: str, module: SparseGPT, config: PublishedConfig, files: Mapping[str, str], *, command: str
) -> str:
    ours = module.config
    sources = "\n".join(f"| `{source}` | `{digest}` |" for source, digest in files.items())
    cut = f"{config.afrac} at {', '.join(config.cut)}" if config.cut else "none"
    return f"""# {name}

A weight-sparse transformer that was published with Gao et al. 2025, "Weight-sparse transformers
have interpretable circuits", or in the same format; converted by pytest-circuits. The weights are
those of the source in float32, and so are the logits up to rounding. Where activations tie for the
last place of AbsTopK all of them are kept; the published code keeps some.

| | |
|---|---|
| command | `{command}` |
| architecture | {ours.n_layer} layers, d_model {ours.d_model}, {ours.n_head} heads of \
{ours.d_head}, {ours.d_mlp} neurons a layer ({ours.activation}), {ours.max_tokens} tokens of \
context |
| AbsTopK | {cut} |
| positions | {ours.positions} |
| sinks, bigram table | {"on" if ours.sinks else "off"}, {"on" if ours.bigram else "off"} |
| made with | pytest-circuits {pytest_circuits.__version__} |

| source | SHA-256 |
|---|---|
{sources}
"""
