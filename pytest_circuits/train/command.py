"""`pytest-circuits train CONFIG --out DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from pydantic import ValidationError

from pytest_circuits.errors import UsageError
from pytest_circuits.spec.bounded_yaml import read_yaml
from pytest_circuits.spec.explain import explain
from pytest_circuits.train.config import TrainConfig


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration; UsageError lists every problem as `path:line:col`."""
    tree = read_yaml(path)
    problems = list(tree.problems)
    if not problems:
        try:
            return TrainConfig.model_validate_json(json.dumps(tree.value))
        except ValidationError as error:
            problems = [problem for _, problem in explain(error, tree, echoes=set())]
    raise UsageError("\n".join(map(str, problems)))


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory that the model is written to.",
)
def train(config: Path, out: Path) -> None:
    """Make a weight-sparse model from a YAML configuration."""
    plan = load_config(config)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty; name a new directory, nothing is overwritten")
    from pytest_circuits.train.job import run

    command = f"pytest-circuits train {config} --out {out}"
    try:
        trained = run(plan, out, command=command)
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; nothing was written to {out}") from None
    click.echo(
        f"{out}: {sum(trained.nonzeros.values()):,} nonzero weights, held-out loss "
        f"{trained.library_loss:.3f} (library), {trained.generated_loss:.3f} (generated)"
    )
