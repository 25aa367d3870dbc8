"""`pytest-circuits reference MODEL`: measure the activations that ablation uses."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.open import load_model, opener
from pytest_circuits.model.protocol import prefix_of
from pytest_circuits.model.reference_file import (
    REFERENCE,
    measure_reference,
    read_reference_text,
    text_windows,
    window_of,
)
from pytest_circuits.spec.load import load_spec


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--like", type=PATH, help="Use the reference text of this model, which has the same tokenizer."
)
@click.option(
    "--text", type=PATH, multiple=True, help="Use this text file; may be given several times."
)
@click.option("--spec", type=PATH, help="Measure at the sites that this specification names.")
def reference(model: Path, like: Path | None, text: tuple[Path, ...], spec: Path | None) -> None:
    """Measure mean activations over reference text and store them beside MODEL.

    Without --like and --text the text of the reference that lies beside MODEL is used again.
    """
    if like is not None and text:
        raise UsageError("--like and --text exclude each other: name one source of reference text")
    subject = opener()(load_spec(spec), model) if spec else load_model(model)
    if text:
        length = window_of(subject)
        tokens = text_windows(text, subject.encode, length=length, prefix=prefix_of(subject))
    else:
        source = like or model
        tokens = read_reference_text(source)
        if int(tokens.max()) >= subject.vocab_size:
            raise ModelError(f"{source / REFERENCE}: its text is of another tokenizer")
    measure_reference(subject, tokens)
    click.echo(f"{model / REFERENCE}: measured over {tokens.numel():,} tokens")
