"""`pytest-circuits convert SOURCE --out TARGET`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.discover import SUFFIX
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.spec.load import load_spec
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.types import Spec
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
@click.option(
    "--model",
    type=PATH,
    help="Of a circuit: the model that it belongs to; default for JSON: that of --behavior.",
)
@click.option(
    "--behavior",
    type=PATH,
    help="Of a circuit: the specification whose behavior and claims it takes.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    help="Of JSON: the edges with a score of at least this size are the circuit, whatever the file "
    "says of them.",
)
def convert(  # noqa: PLR0917  (click passes them by name)
    source: Path,
    out: Path,
    tokenizer: Path | None,
    text: tuple[Path, ...],
    model: Path | None,
    behavior: Path | None,
    threshold: float | None,
) -> None:
    """Read published weight-sparse models, and circuits of other tools, into our formats.

    SOURCE is a folder with beeg_config.json and final_model.pt, which becomes a model directory,
    or a viz_data.pt, which becomes a specification. Pickles are read in a process of their own,
    which runs nothing that is in them.

    Or SOURCE is the JSON of EAP-IG and MIB, of edges of ACDC, or of a graph of circuit-tracer and
    Neuronpedia: its heads and MLPs become the nodes of the specification that --behavior names.
    --out may be that file itself while it has no nodes.
    """
    is_json = source.suffix == ".json" and not source.is_dir()
    if not is_json:
        _only_for("circuit in JSON", {"--threshold": threshold is not None})
    try:
        if is_json:
            _only_for("model", {"--tokenizer": tokenizer, "--text": text})
            _exchanged(source, out, model, behavior, threshold)
        elif source.is_dir() and not (source / _CIRCUIT).is_file():
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
    _check_out(out)
    described = load_spec(behavior) if behavior else None
    from pytest_circuits.convert.circuit import behavior_wanted, read_circuit, specification  # noqa: PLC0415  (torch, after the checks)
    from pytest_circuits.convert.exchange import refuse_pickle  # noqa: PLC0415
    from pytest_circuits.model.sparse.directory import load_sparse_model  # noqa: PLC0415

    refuse_pickle(source)
    subject = load_sparse_model(model)
    circuit = read_circuit(source, subject)
    if described is None:
        raise behavior_wanted(circuit, subject, path=source)
    _write(specification(circuit, described.spec, out=out, model=subject), out)
    click.echo(f"{out}: {circuit.found_by['nodes']} nodes at {len(circuit.nodes)} hook points")
    click.echo(f"Put it to the test: pytest --circuits {shlex.quote(str(out))}")


def _exchanged(
    source: Path, out: Path, model: Path | None, behavior: Path | None, threshold: float | None
) -> None:
    if behavior is None:
        raise UsageError(
            f"{source}: says which nodes a circuit has, and not of what behavior; write a "
            "specification with the behavior and its claims, without nodes, and name it with "
            "--behavior SPEC"
        )
    described = load_spec(behavior)
    empty = not any(described.spec.nodes.values())
    _check_out(out, instead=behavior if empty else None)
    from pytest_circuits.convert.exchange import imported_spec, read_exchanged  # noqa: PLC0415  (torch, after the checks)
    from pytest_circuits.model.open import opener  # noqa: PLC0415

    subject = opener()(described, model or described.model_path)
    found = read_exchanged(source, subject, described, threshold=threshold)
    _write(imported_spec(found, described.spec, out=out, model=subject), out)
    click.echo(f"{out}: {found.summary}")
    if "made_on" in found.found_by:
        made_on = quoted(str(found.found_by["made_on"]))
        click.echo(
            f"It was found in a model called {made_on}; layers and heads fit, and a directory does "
            "not say whether that is its name."
        )
    click.echo("What the file has and the specification has not:")
    for item in found.left_out:
        click.echo(f"  {item}")
    click.echo(f"Put it to the test: pytest --circuits {shlex.quote(str(out))}")


def _check_out(out: Path, *, instead: Path | None = None) -> None:
    """Refuse to overwrite anything but a specification that has no nodes yet."""
    if not out.name.endswith(SUFFIX):
        raise UsageError(f"{out}: a specification is named NAME{SUFFIX}")
    if instead is not None and out.resolve() == instead.resolve():
        return
    if out.exists() or not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: name a new file in a folder that exists; nothing is overwritten")


def _write(spec: Spec, out: Path) -> None:
    try:
        write_spec(spec, path=out)
    except SpecError as error:
        raise UsageError(f"{out}: cannot be written: {error}") from None
