"""`pytest-circuits show SPEC`."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.commands import FILE, PATH, write_named
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import load_spec


@click.command()
@click.argument("spec", type=PATH)
@click.option(
    "--model",
    "model_path",
    type=PATH,
    help="Show the circuit in this model instead of the one that SPEC names.",
)
@click.option("--svg", "svg_file", metavar="FILE", type=FILE, help="Draw it instead.")
def show(spec: Path, model_path: Path | None, svg_file: Path | None) -> None:
    """Print the circuit of SPEC as a short program, or draw it.

    Layer by layer: what each head attends to, what each neuron and each write is made of, and how
    the answer comes out. Everything outside the circuit is constant and folded into the numbers.

    The drawing has the layers upward, a row for each site and a box for each node; of more nodes
    than can be told apart, a box for each site, and the nodes in words below. It is of any model.
    """
    loaded = load_spec(spec)
    if not any(loaded.spec.nodes.values()):
        text = f"circuit '{loaded.spec.circuit}' has no nodes to show"
        hint = f"find them with: pytest-circuits prune {spec}"
        raise SpecError(loaded.problem_at(("circuit",), text, hint, key=True))
    # What needs torch is imported after the file has been checked.
    from pytest_circuits.circuit.check import check_asked, check_circuit, refuse  # noqa: PLC0415
    from pytest_circuits.circuit.edges import edges_of  # noqa: PLC0415
    from pytest_circuits.circuit.nodes import Nodes  # noqa: PLC0415
    from pytest_circuits.model.open import load_model  # noqa: PLC0415
    from pytest_circuits.model.reference_file import load_reference  # noqa: PLC0415
    from pytest_circuits.model.sparse.adapter import SparseModel  # noqa: PLC0415
    from pytest_circuits.show.program import program  # noqa: PLC0415
    from pytest_circuits.show.svg import caption, file_of  # noqa: PLC0415
    from pytest_circuits.show.wiring import drawing_of  # noqa: PLC0415

    model = load_model(model_path or loaded.model_path)
    if svg_file is None and not isinstance(model, SparseModel):
        raise UsageError(
            f"{model.path}: a program can be shown of a weight-sparse GPT alone, whose circuits "
            "are small networks; --svg FILE draws a circuit of any model"
        )
    pair, _ = next(PromptSpace(loaded.spec.behavior).enumerate())
    refuse(check_circuit(loaded, model) or check_asked(loaded, model, [pair]))
    if svg_file is not None:
        nodes, edges = Nodes.of(loaded.spec.nodes), edges_of(loaded.spec)
        if drawing := drawing_of(model, nodes, edges):
            title = f"{loaded.spec.circuit}: {caption(drawing)}"
            write_named(svg_file, file_of(drawing, title=title), begins="<svg")
    elif isinstance(model, SparseModel):
        click.echo(program(loaded.spec, model, load_reference(model), pair))
