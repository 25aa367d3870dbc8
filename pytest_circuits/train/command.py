"""`pytest-circuits train CONFIG --out DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.errors import UsageError
from pytest_circuits.spec.typed import read_as
from pytest_circuits.train.config import TrainConfig


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
    plan = read_as(config, TrainConfig)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out}: is there and not an empty directory; name a new one, nothing is overwritten"
        )
    from pytest_circuits.train.job import run  # noqa: PLC0415  (torch, after the checks)

    command = f"pytest-circuits train {config} --out {out}"
    try:
        trained = run(plan, out, command=command)
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; nothing was written to {out}") from None
    click.echo(
        f"{out}: {sum(trained.nonzeros.values()):,} nonzero weights, held-out loss "
        f"{trained.library_loss:.3f} (library), {trained.generated_loss:.3f} (generated)"
    )
