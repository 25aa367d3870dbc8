"""`pytest-circuits reference MODEL`: measure the activations that ablation uses."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.directory import (
    REFERENCE,
    Model,
    load_model,
    read_reference_text,
    save_reference,
)
from pytest_circuits.model.reference import measure
from pytest_circuits.progress import reporting

MIN_WINDOWS = 16


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="Use the reference text of this model, which has the same tokenizer.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Use this text file; may be given several times.",
)
def reference(model: Path, like: Path | None, text: tuple[Path, ...]) -> None:
    """Measure mean activations over reference text and store them beside MODEL.

    Without --like and --text the text of the reference that lies beside MODEL is used again.
    """
    if like is not None and text:
        raise UsageError("--like and --text exclude each other: name one source of reference text")
    subject = load_model(model)
    tokens = _windows(subject, text) if text else _borrowed(subject, like or model)
    with reporting("reference", len(tokens)) as reporter:
        measured = measure(
            subject.module, tokens, model_digest=subject.digest, progress=reporter.at
        )
    save_reference(subject, measured)
    click.echo(f"{model / REFERENCE}: measured over {tokens.numel():,} tokens")


def _windows(model: Model, paths: tuple[Path, ...]) -> torch.Tensor:
    """Text files as windows of the model's length, [R, T]."""
    ids: list[int] = []
    for path in paths:
        try:
            ids += model.encode(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    count = len(ids) // model.max_tokens
    if count < MIN_WINDOWS:
        raise UsageError(
            f"the text has {len(ids)} tokens; a reference needs at least "
            f"{MIN_WINDOWS * model.max_tokens} ({MIN_WINDOWS} windows of {model.max_tokens})"
        )
    return torch.tensor(ids[: count * model.max_tokens]).view(count, model.max_tokens)


def _borrowed(model: Model, source: Path) -> torch.Tensor:
    tokens = read_reference_text(source)
    if int(tokens.max()) >= model.config.vocab_size:
        raise ModelError(f"{source / REFERENCE}: its text is of another tokenizer")
    return tokens
