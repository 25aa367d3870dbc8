"""The dense model at the beginning: what is asked of it before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.huggingface import directory
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.lora import is_adapter
from pytest_circuits.model.huggingface.vocabulary import TOKENIZER
from pytest_circuits.model.huggingface.weights import check_memory, files_of
from pytest_circuits.model.tokenizer import load_tokenizer
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.data.config import Vocabulary

# float32 numbers at the same time: the dense model, the sparse one, its gradient, two moments and
# the best weights so far; all but the first two once more in a checkpoint, and as it is read back.
_BYTES = 4 * (6 + 2 * 4)


def load_dense(path: Path, config: BridgeConfig, *, device: torch.device) -> HuggingFaceModel:
    """The model to begin with; ModelError where it cannot be made sparse, and why."""
    if not path.is_dir():
        raise ModelError(f"{path}: no such model directory")
    if not directory.recognises(path):
        raise ModelError(
            f"{path}: is not a directory of transformers (config.json with a model_type, "
            "safetensors, tokenizer.json); a weight-sparse model is gone on with by start_from"
        )
    if not is_adapter(path):
        files = files_of(path)
        check_memory(path, files, each=_BYTES, to="to be made sparse")
    model = directory.load(path, device=device)
    if not model.stored.startswith(("float", "bfloat")):
        raise ModelError(
            f"{path}: its weights are packed or not merged ({model.stored}); make sparse what they "
            "stand for: dequantize(torch.float32) or merge_and_unload(), then save_pretrained"
        )
    if config.max_tokens > model.max_tokens:
        raise ModelError(
            f"{path}: takes {model.max_tokens} tokens at most, and max_tokens is "
            f"{config.max_tokens}; lower it"
        )
    matrices_of(model)
    return model


def matrices_of(model: HuggingFaceModel) -> tuple[str, ...]:
    """The names of the matrices of the layers, which are made sparse.

    ModelError where layers hold others than those of linear maps.
    """
    within = {id(p) for block in model.anatomy.blocks for p in block.module.parameters()}
    linear = {id(m.weight) for m in model.module.modules() if _is_linear(m)}
    found = [
        (name, id(p) in linear)
        for name, p in model.module.named_parameters()
        if p.dim() > 1 and id(p) in within
    ]
    if odd := [name for name, plain in found if not plain]:
        raise ModelError(
            f"{model.path}: a {model.module.config.model_type} model cannot be made sparse: its "
            f"layers have weights that are no plain linear maps, such as {odd[0]!r} (experts, "
            "convolutions); models whose layers are linear maps, such as GPT-2 and Llama, can"
        )
    return tuple(name for name, _ in found)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def with_tokenizer(config: BridgeConfig, model: HuggingFaceModel, *, base: Path) -> BridgeConfig:
    """The configuration with the tokenizer of the model, by a path from the folder `base`."""
    asked, file = config.data.tokenizer, model.path / TOKENIZER
    own = load_tokenizer(file)
    if asked.file is not None and load_tokenizer(base / asked.file).digest != own.digest:
        raise UsageError(
            f"data.tokenizer.file: {asked.file} is not the tokenizer of {model.path}, which "
            "decides; leave the key out"
        )
    if asked.file is None and "vocab_size" in asked.model_fields_set:
        raise UsageError(
            f"data.tokenizer.vocab_size: the tokenizer is that of {model.path}; leave the key out"
        )
    end = asked.end
    if end is None:
        ids = model.module.config.get_text_config().eos_token_id
        ids = [ids] if isinstance(ids, int) else (ids or [])
        known = [text for i in ids if own.id_of(text := own.token(i)) == i]
        end = known[0] if known else None
    path = os.path.relpath(file.resolve(), base.resolve())
    data = config.data.model_copy(update={"tokenizer": Vocabulary(file=path, end=end)})
    return config.model_copy(update={"data": data})
