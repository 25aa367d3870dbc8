"""`pytest-circuits show SPEC`."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.commands import FILE, PATH, write_named
from pytest_circuits.errors import SpecError
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
@click.option("--dot", "dot_file", metavar="FILE", type=FILE, help="Draw it for Graphviz instead.")
@click.option(
    "--eap-ig",
    "graph_file",
    metavar="FILE",
    type=FILE,
    help="Write its heads and MLPs as a graph of EAP-IG and MIB, in JSON, instead.",
)
def show(
    spec: Path,
    model_path: Path | None,
    svg_file: Path | None,
    dot_file: Path | None,
    graph_file: Path | None,
) -> None:
    """Print the circuit of SPEC as a short program and say what each part does, or draw it.

    Layer by layer: what each head attends to, what each neuron and each write is made of, and how
    the answer comes out. Everything outside the circuit is constant and folded into the numbers.
    That is of a weight-sparse GPT alone.

    Below it stands in words what each part does in the whole model, of any model: what heads look
    at, at which tokens a node is on, which answer it speaks for. Each line is a prediction, and how
    often it was right on prompts and text that it was not made on. What does not hold is not said.

    The drawing has the layers upward, a row for each site and a box for each node; of more nodes
    than can be told apart, a box for each site, and the nodes in words below. Under it stands what
    each node carries at the tokens of two prompts, one for each cue. It is of any model.
    """
    loaded = load_spec(spec)
    if not any(loaded.spec.nodes.values()):
        text = f"circuit '{loaded.spec.circuit}' has no nodes to show"
        hint = f"find them with: pytest-circuits prune {spec}"
        raise SpecError(loaded.problem_at(("circuit",), text, hint, key=True))
    # What needs torch is imported after the file has been checked.
    from pytest_circuits.circuit.check import check_asked, check_circuit, refuse  # noqa: PLC0415
    from pytest_circuits.circuit.divided import by_place, nodes_of  # noqa: PLC0415
    from pytest_circuits.circuit.edges import edges_of  # noqa: PLC0415
    from pytest_circuits.circuit.nodes import Nodes  # noqa: PLC0415
    from pytest_circuits.circuit.runner import Runner  # noqa: PLC0415
    from pytest_circuits.circuit.scope import in_scope  # noqa: PLC0415
    from pytest_circuits.convert.eap_ig import GRAPH_BEGINS  # noqa: PLC0415
    from pytest_circuits.convert.exchange import exported  # noqa: PLC0415
    from pytest_circuits.model.open import opener  # noqa: PLC0415
    from pytest_circuits.model.reference_file import load_reference  # noqa: PLC0415
    from pytest_circuits.model.sparse.adapter import SparseModel  # noqa: PLC0415
    from pytest_circuits.show.dot import BEGINS, dot  # noqa: PLC0415
    from pytest_circuits.show.explain import explain  # noqa: PLC0415
    from pytest_circuits.show.explain_lines import lines  # noqa: PLC0415
    from pytest_circuits.show.program import program  # noqa: PLC0415
    from pytest_circuits.show.svg import caption, file_of  # noqa: PLC0415
    from pytest_circuits.show.wiring import drawing_of, heat_of  # noqa: PLC0415

    model = opener()(loaded, model_path or loaded.model_path)
    space = PromptSpace(loaded.spec.behavior)
    pair, _ = next(space.enumerate())
    refuse(check_circuit(loaded, model) or check_asked(loaded, model, [pair]))
    nodes, edges = nodes_of(loaded.spec), edges_of(loaded.spec)
    drawn = by_place(model, loaded.spec)
    drawing = drawing_of(drawn, nodes, edges) if svg_file or dot_file else None
    if drawing is not None:
        title = f"{loaded.spec.circuit}: {caption(drawing)}"
        if svg_file is not None:
            heat = heat_of(drawn, nodes, pair)
            write_named(svg_file, file_of(drawing, title=title, heat=heat), begins="<svg")
        if dot_file is not None:
            write_named(dot_file, dot(drawing, title=title), begins=BEGINS)
    if graph_file is not None:
        text, told = exported(loaded.spec, model, Nodes.of(loaded.spec.nodes))
        write_named(graph_file, text, begins=GRAPH_BEGINS)
        for line in told:
            click.echo(line)
    if svg_file or dot_file or graph_file:
        return
    reference = load_reference(model)
    if drawn is not model:
        click.echo("No program: that is of circuits whose nodes count at all tokens alike.\n")
    elif isinstance(model, SparseModel):
        click.echo(f"{program(loaded.spec, model, reference, pair)}\n")
    click.echo(f"{_of_rivals(loaded.spec.rivals)}\n")
    runner = Runner(in_scope(loaded.spec, model), reference, loaded.spec.ablations[0])
    click.echo("\n".join(lines(explain(runner, nodes, edges, space))))


def _of_rivals(rivals: int | None) -> str:
    """Whether it is the only mechanism of this kind, as far as one has looked."""
    known = {
        None: "Nobody has searched for others yet (prune --rivals).",
        0: "A search for others, of mostly other nodes, found none.",
        1: "Another one, of mostly other nodes, meets the same demands (`found_by`).",
    }
    several = f"{rivals} others, of mostly other nodes, meet the same demands (`found_by`)."
    return f"This is a mechanism that the model uses. {known.get(rivals, several)}"
