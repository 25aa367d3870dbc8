"""`pytest-circuits convert SOURCE --out TARGET`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.spec.load import load_spec
from pytest_circuits.spec.write import write_spec
from pytest_circuits.system.files import check_free

_CIRCUIT = "viz_data.pt"


@click.command()
@click.argument("source", type=PATH)
@click.option("--out", required=True, type=PATH, help="Model directory, or *.circuit.yaml.")
@click.option(
    "--tokenizer",
    type=PATH,
    help="Of a model: tokenizer.json, a .tiktoken rank file, or vocab.bpe beside encoder.json; "
    "default: the one in SOURCE.",
)
@click.option(
    "--text",
    type=PATH,
    multiple=True,
    help="Of a model: measure its reference on this text file; may be given several times.",
)
@click.option("--model", type=PATH, help="Of a circuit: the converted model that it belongs to.")
@click.option(
    "--behavior",
    type=PATH,
    help="Of a circuit: the specification whose behavior and claims it takes.",
)
def convert(  # noqa: PLR0917  (click passes them by name)
    source: Path,
    out: Path,
    tokenizer: Path | None,
    text: tuple[Path, ...],
    model: Path | None,
    behavior: Path | None,
) -> None:
    """Read a published weight-sparse model, or a circuit of one, into our formats.

    SOURCE is a folder with beeg_config.json and final_model.pt, which becomes a model directory,
    or a viz_data.pt, which becomes a specification. Pickles are read in a process of their own,
    which runs nothing that is in them.
    """
    try:
        if source.is_dir() and not (source / _CIRCUIT).is_file():
            _only_for("circuit", {"--model": model, "--behavior": behavior})
            _model(source, out, tokenizer, text)
        else:
            _only_for("model", {"--tokenizer": tokenizer, "--text": text})
            _circuit(source / _CIRCUIT if source.is_dir() else source, out, model, behavior)
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; nothing was written to {out}") from None


def _only_for(what: str, options: dict[str, object]) -> None:
    for name, given in options.items():
        if given:
            raise UsageError(f"{name} is for a {what}, which SOURCE is not")


def _model(source: Path, out: Path, tokenizer: Path | None, text: tuple[Path, ...]) -> None:
    check_free(out)
    lacking = [n for n in ("beeg_config.json", "final_model.pt") if not (source / n).exists()]
    if lacking:
        raise UsageError(
            f"{source}: {' and '.join(lacking)} not found; SOURCE is a folder with "
            f"beeg_config.json and final_model.pt, or a {_CIRCUIT}"
        )
    from pytest_circuits.convert.model import convert_model  # noqa: PLC0415  (torch, after checks)

    given = [("", source)] + ([("--tokenizer ", tokenizer)] if tokenizer else [])
    given += [("--text ", path) for path in text]
    said = " ".join(f"{option}{shlex.quote(path.resolve().name)}" for option, path in given)
    config = convert_model(
        source, out, tokenizer=tokenizer, text=text, command=f"pytest-circuits convert {said}"
    )
    click.echo(
        f"{out}: {config.n_layer} layers, d_model {config.d_model}, vocabulary "
        f"{config.vocab_size}, positions {config.positions}"
    )
    if not text:
        click.echo(
            "It has no reference, which ablation needs; measure one on the text that the model "
            f"was made for: pytest-circuits reference {shlex.quote(str(out))} --text FILE"
        )


def _circuit(source: Path, out: Path, model: Path | None, behavior: Path | None) -> None:
    if model is None:
        raise UsageError(
            f"{source}: a circuit needs its model; name the converted one with --model DIR"
        )
    if not out.name.endswith(".circuit.yaml"):
        raise UsageError(f"{out}: a specification is named NAME.circuit.yaml")
    if out.exists() or not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: name a new file in a folder that exists; nothing is overwritten")
    described = load_spec(behavior) if behavior else None
    from pytest_circuits.convert.circuit import behavior_wanted, read_circuit, specification  # noqa: PLC0415  (torch, after the checks)
    from pytest_circuits.model.sparse.directory import load_sparse_model  # noqa: PLC0415

    subject = load_sparse_model(model)
    circuit = read_circuit(source, subject)
    if described is None:
        raise behavior_wanted(circuit, subject, path=source)
    try:
        write_spec(specification(circuit, described.spec, out=out, model=subject), path=out)
    except SpecError as error:
        raise UsageError(f"{out}: cannot be written: {error}") from None
    click.echo(f"{out}: {circuit.found_by['nodes']} nodes at {len(circuit.nodes)} hook points")
    click.echo(f"Put it to the test: pytest --circuits {shlex.quote(str(out))}")
