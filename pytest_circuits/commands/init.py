"""`pytest-circuits init MODEL PROMPT ANSWER PROMPT ANSWER`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pytest_circuits.commands import FILE, PATH
from pytest_circuits.discover import SUFFIX
from pytest_circuits.errors import UsageError
from pytest_circuits.spec.write import save_text

_FOLDER = Path("circuits")


@click.command()
@click.argument("model", type=PATH)
@click.argument("prompt")
@click.argument("answer")
@click.argument("other_prompt")
@click.argument("other_answer")
@click.option("--name", default="", help="Name of the circuit; default: made of the cues.")
@click.option(
    "--out",
    metavar="FILE",
    type=FILE,
    help="Where to write it; default: circuits/NAME.circuit.yaml.",
)
def init(
    model: Path,
    prompt: str,
    answer: str,
    other_prompt: str,
    other_answer: str,
    *,
    name: str,
    out: Path | None,
) -> None:
    """Make a first specification of two prompts, each with what should follow it.

    They differ in the cue alone, on which the answer hangs; each answer is one token. A word that
    both prompts have becomes a slot of words with which MODEL still answers rightly. The file is
    commented, loads as it is, and has no nodes yet: `plan` and `prune` take it from there.
    """
    # What needs torch is imported after the command line has been read.
    from pytest_circuits.first_spec import Asked, first_spec, name_of  # noqa: PLC0415
    from pytest_circuits.model.open import load_model  # noqa: PLC0415

    asked = Asked((prompt, other_prompt), (answer, other_answer))
    path = out or _FOLDER / f"{name or name_of(asked)}{SUFFIX}"
    if not path.name.endswith(SUFFIX):
        raise UsageError(f"--out: {path}: specifications end in {SUFFIX}")
    if path.exists():
        raise UsageError(f"{path} is there already; name another file with --out, or remove it")
    from_there = Path(os.path.relpath(model, path.parent)).as_posix()
    made = first_spec(asked, load_model(model), named=name, path=path, model_path=from_there)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be made: {error.strerror}") from error
    save_text(path, made.text)
    click.echo(f"written: {path}")
    for text, wanted, foil, nats in (
        (prompt, answer, other_answer, made.margins[0]),
        (other_prompt, other_answer, answer, made.margins[1]),
    ):
        right = "" if nats > 0 else "; it is wrong there, so that there is no circuit to find"
        said = f"{wanted!r} over {foil!r} by {nats:.2f} nats{right}"
        click.echo(f"after {text!r} the model prefers {said}")
    count = len(made.words)
    click.echo(
        f"{count} words fill the slot 'word'; see that they are what your prompts hold"
        if count
        else "no word was found to vary: add slots by hand, one pair is little to find a circuit on"
    )
    click.echo(f"next: pytest-circuits plan {path}\n      pytest-circuits prune {path}")
