"""A published circuit (`viz_data.pt`) as a specification."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pytest_circuits
from pytest_circuits.convert.exchange import WAY_OUT, as_circuit
from pytest_circuits.convert.reader import Pickled, read_pickled
from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.problems import listed
from pytest_circuits.spec.types import Spec

MAX_BYTES = 8 * 2**30
_NODES, _SAMPLES = "circuit_data", "importances/task_samples/0"
_CONFIG = "importances/beeg_model_config"
_LOSSES = {"importances/loss": "loss_whole_model", "importances/interv_loss": "task_loss"}
_KEEP = (_NODES, _SAMPLES, _CONFIG, "prune_config", *_LOSSES)
# Of the pruner's settings, those whose name needs no quotes in YAML.
_SETTING = re.compile(r"(?:circuit_data/)?prune_config/([A-Za-z_][A-Za-z0-9_]{0,60})")
_FINAL = "final_resid"
_SHOWN = 4  # samples of each class
_WIDEST = 300  # characters of a sample, from its end


@dataclass(frozen=True, slots=True)
class PublishedCircuit:
    """What a file says about a circuit, checked against the model."""

    nodes: dict[str, tuple[int, ...]]
    samples: tuple[tuple[int, ...], ...]  # token ids; the first half is one class
    found_by: dict[str, str | int | float | bool]


def read_circuit(path: Path, model: SparseModel) -> PublishedCircuit:
    """Read `viz_data.pt`; ModelError when it is no circuit, or one of another model."""
    data = read_pickled(path, max_bytes=MAX_BYTES, keep=_KEEP)
    _check_model(data.values, model, path)
    nodes = _nodes(data, model, path)
    if not nodes:
        raise ModelError(f"{path}: holds no circuit: nothing under 'circuit_data'; {WAY_OUT}")
    return PublishedCircuit(nodes, _samples(data.tensors), _found_by(data, nodes, model, path))


def _check_model(values: Mapping[str, Any], model: SparseModel, path: Path) -> None:
    config = model.config
    ours = {"n_layer": config.n_layer, "d_model": config.d_model, "n_head": config.n_head}
    for key, value in ours.items():
        theirs = values.get(f"{_CONFIG}/{key}", value)
        if theirs != value:
            raise ModelError(
                f"{path}: the circuit of another model: its {key} is {theirs}, that of "
                f"{model.path} is {value}"
            )


def _nodes(data: Pickled, model: SparseModel, path: Path) -> dict[str, tuple[int, ...]]:
    """Kept channels by hook point, in forward order; an absent final_resid was not pruned."""
    found: dict[str, tuple[int, ...]] = {}
    for name, tensor in data.tensors.items():
        folder, _, hook = name.partition("/")
        if folder == _NODES and not hook.startswith("prune_config"):
            found[hook] = _channels(hook, tensor, model, path)
    if found and _FINAL not in found:
        found[_FINAL] = tuple(range(model.sites[_FINAL].width))
    return {hook: found[hook] for hook in model.sites if found.get(hook)}


def _channels(hook: str, tensor: Tensor, model: SparseModel, path: Path) -> tuple[int, ...]:
    site = model.sites.get(hook)
    if site is None:
        known = listed([name for name in model.sites if name[:2] in {"0.", "fi"}])
        raise ModelError(f"{path}: {hook!r} is no hook point of {model.path}; known: {known}, ...")
    if tensor.numel() == 0:
        return ()
    if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype is torch.bool:
        raise ModelError(f"{path}: {hook!r} holds no list of channels ({tensor.dtype})")
    channels = tuple(sorted(int(index) for index in tensor.tolist()))
    if channels[0] < 0 or channels[-1] >= site.width or len(set(channels)) < len(channels):
        raise ModelError(
            f"{path}: the channels of {hook!r} are not different numbers below {site.width}, its "
            f"width in {model.path}"
        )
    return channels


def _samples(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], ...]:
    """Token ids of the task's prompts, without the zeros that pad them."""
    rows: list[list[int]] = []
    for name, tensor in tensors.items():
        is_sample = name == _SAMPLES or name.startswith(f"{_SAMPLES}/")
        if is_sample and not tensor.is_floating_point() and tensor.dim() in {1, 2}:
            rows += tensor.view(-1, tensor.shape[-1]).tolist()
    return tuple(tuple(row[: _length(row)]) for row in rows)


def _length(row: Sequence[int]) -> int:
    return max((index + 1 for index, token in enumerate(row) if token != 0), default=0)


def _found_by(
    data: Pickled, nodes: Mapping[str, Sequence[int]], model: SparseModel, path: Path
) -> dict[str, str | int | float | bool]:
    notes: dict[str, str | int | float | bool] = {
        "tool": f"pytest-circuits {pytest_circuits.__version__} convert",
        "source": path.name,
        "source_sha256": data.sha256,
        "model_digest": model.digest,
        "nodes": sum(map(len, nodes.values())),
    }
    folders = path.resolve().parts[-5:-1]  # viz/<model>/<task>/<sweep>/<k>/viz_data.pt
    if len(folders) == 4 and (folders[3].isdigit() or folders[3] == "k_optim"):
        notes |= dict(zip(("published_model", "task", "sweep", "k"), folders, strict=True))
    for key, name in _LOSSES.items():
        loss = data.tensors[key].tolist() if key in data.tensors else data.values.get(key)
        if isinstance(loss, int | float):
            # Theirs is the sum over the two sides of a pair, ours the mean.
            notes[name] = float(f"{loss / 2:.4g}")
    for key, value in data.values.items():
        if (setting := _SETTING.fullmatch(key)) and value is not None:
            notes[f"prune_config.{setting[1]}"] = value
    return notes


def specification(
    circuit: PublishedCircuit, behavior: Spec, *, out: Path, model: SparseModel
) -> Spec:
    """The published nodes as the circuit of a behavior that a specification describes."""
    return as_circuit(behavior, out=out, model=model).model_copy(
        update={
            "ablation": Ablation.MEAN,
            "nodes": circuit.nodes,
            "found_by": circuit.found_by,
        }
    )


def behavior_wanted(circuit: PublishedCircuit, model: SparseModel, *, path: Path) -> UsageError:
    """Why a circuit cannot become a specification yet, with what is known about its behavior."""
    half = len(circuit.samples) // 2
    what = (
        f"{path}: holds a circuit of {sum(map(len, circuit.nodes.values()))} nodes and "
        f"{len(circuit.samples)} prompts as tokens, but no behavior as a specification has it: a "
        "template, what varies in it, and two cues with their answers"
    )
    how = (
        "Write a specification with this behavior and its claims, without nodes, and name it with "
        "--behavior SPEC"
    )
    lines = [what, how]
    for title, rows in (
        ("one class", circuit.samples[:half]),
        ("the other", circuit.samples[half:]),
    ):
        lines.append(f"Prompts of {title}, and the token that the model says next:")
        lines += [f"  {_line(row, model)}" for row in rows[:_SHOWN]] or ["  none in the file"]
    return UsageError("\n".join(lines))


def _line(row: Sequence[int], model: SparseModel) -> str:
    if not row or max(row) >= model.config.vocab_size or min(row) < 0:
        return "tokens that are not in the model's vocabulary"
    tokens = torch.tensor([row[-model.max_tokens :]], device=model.device)
    with torch.inference_mode():
        answer = int(model.module(tokens)[0, -1].argmax())
    text = "".join(model.decode_token(token) for token in row)
    shown = text if len(text) <= _WIDEST else f"...{text[-_WIDEST:]}"
    return f"{shown!r} -> {model.decode_token(answer)!r}"
