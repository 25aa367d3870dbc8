"""The reference beside a model: `reference.safetensors`, bound to the model by its digest.

And the text that one is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.arithmetic import own_arithmetic_for
from pytest_circuits.model.protocol import Model, Overlapping, whole_of
from pytest_circuits.model.reference import (
    BringsReference,
    Reference,
    expected_shapes,
    from_tensors,
    measure,
    to_tensors,
)
from pytest_circuits.model.tensor_file import check_shapes, read_tensors, write_tensors
from pytest_circuits.system.files import parse_json, read_bounded
from pytest_circuits.system.progress import reporting

REFERENCE = "reference.safetensors"
MAX_REFERENCE_BYTES = 2**30
_MAX_TEXT_BYTES = 2**28
_MIN_WINDOWS = 16
_WINDOW = 64  # tokens, of a model of others: it takes thousands, and every gate measures them anew


def load_reference(model: Model) -> Reference:
    """The reference beside a model; ModelError if there is none, or it is another model's.

    Of all its sites, whichever of them it shows.
    """
    model = whole_of(model)
    if brought := _brought(model):
        return brought
    tensors, metadata = _read_reference(model.path)
    path = model.path / REFERENCE
    means = {name: tensor for name, tensor in tensors.items() if name != "tokens"}
    check_shapes(means, expected_shapes(model), path)
    stored = str(metadata.get("pytest_circuits", "{}"))
    bound_to = parse_json(stored.encode(), source=str(path), error=ModelError).get("model_digest")
    if bound_to != model.digest:
        raise ModelError(
            f"{path}: was measured on another model ({str(bound_to)[:12]}, and this one is "
            f"{model.digest[:12]}, of its weights, configuration and tokenizer); "
            f"{_how_to_measure(model.path)}"
        )
    return from_tensors(tensors, model)


def check_reference(model: Model) -> None:
    """Measure the reference of a model anew; ModelError where the file says something else.

    The digest of a model leaves its reference out, and what an ablation puts in place of a node
    decides what a circuit does alone. One that the model brings along was measured just now.
    """
    if _brought(model):
        return
    stored = load_reference(model)
    with own_arithmetic_for(model):
        departure = stored.departure(measure(model, stored.tokens))
    if departure:
        raise ModelError(
            f"{model.path / REFERENCE}: is not what this model does on the text in it "
            f"({departure}); {_how_to_measure(model.path)}"
        )


def _brought(model: Model) -> Reference | None:
    return model.reference if isinstance(model, BringsReference) else None


def read_reference_text(path: Path) -> Tensor:
    """The tokens [R, T] that the reference in a model directory was measured on."""
    return _read_reference(path)[0]["tokens"].long()


def window_of(model: Model) -> int:
    """Tokens of a window of reference text."""
    most = model.max_tokens
    return min(most, _WINDOW) if isinstance(model, Overlapping) else most


def text_windows(
    paths: Sequence[Path],
    encode: Callable[[str], list[int]],
    *,
    length: int,
    prefix: tuple[int, ...] = (),
) -> Tensor:
    """Texts one after the other, cut into windows of `length` tokens: [R, T] ids.

    prefix: what `encode` puts before every text, and every window begins with.

    Raises UsageError where a file is not UTF-8, or there is too little text.
    """
    ids: list[int] = []
    for path in paths:
        content = read_bounded(path, max_bytes=_MAX_TEXT_BYTES, error=UsageError)
        try:
            ids += encode(content.decode("utf-8"))[len(prefix) :]
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    held = length - len(prefix)
    count = len(ids) // held
    if count < _MIN_WINDOWS:
        raise UsageError(
            f"the text has {len(ids)} tokens; a reference needs at least {_MIN_WINDOWS * held} "
            f"({_MIN_WINDOWS} windows of {held})"
        )
    windows = torch.tensor(ids[: count * held]).view(count, held)
    return torch.cat([torch.tensor(prefix).long().expand(count, -1), windows], dim=1)


def save_reference(model: Model, reference: Reference) -> None:
    """Write `reference.safetensors` beside the model that it was measured on."""
    tensors = to_tensors(reference)
    write_tensors(model.path / REFERENCE, tensors, {"model_digest": reference.model_digest})


def measure_reference(model: Model, text: Tensor) -> None:
    """Measure a model on windows of text [R, T], and write the reference beside it."""
    with reporting("reference", len(text)) as reporter, own_arithmetic_for(model):
        reference = measure(model, text, progress=reporter.at)
    save_reference(model, reference)


def _read_reference(directory: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = directory / REFERENCE
    if not directory.is_dir():
        raise ModelError(f"{directory}: no such model directory")
    if not path.exists():
        raise ModelError(
            f"{directory}: has no {REFERENCE}, which ablation needs; {_how_to_measure(directory)}"
        )
    tensors, metadata = read_tensors(path, max_bytes=MAX_REFERENCE_BYTES)
    tokens = tensors.get("tokens")
    if tokens is None or tokens.dim() != 2 or tokens.numel() == 0 or bool((tokens < 0).any()):
        raise ModelError(f"{path}: holds no reference text; {_how_to_measure(directory)}")
    return tensors, metadata


def _how_to_measure(directory: Path) -> str:
    return (
        f"measure it with `pytest-circuits reference {directory} --like MODEL`, where MODEL has "
        "the same tokenizer and a reference, or with --text FILE"
    )
