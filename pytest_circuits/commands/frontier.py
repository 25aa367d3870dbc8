"""`pytest-circuits frontier CONFIG --out DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import StoppedError
from pytest_circuits.frontier.config import FrontierConfig
from pytest_circuits.spec.load import read_as
from pytest_circuits.system.files import write_atomic
from pytest_circuits.system.lock import hold
from pytest_circuits.system.stopping import interruptions


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the sweep: its models, circuits, record, table and picture.",
)
def frontier(config: Path, out: Path) -> None:
    """Compare models by their loss and by the size of their circuits, under the same claims.

    CONFIG names models that are there or how each is trained, specifications whose circuits are
    searched in every one of them, and a text that none of them learnt from. Every step is shown as
    the command that it is. The same command goes on after it was stopped.
    """
    asked = read_as(config, FrontierConfig)
    # What needs torch is imported after the file has been read.
    from pytest_circuits.frontier.sweep import Sweep  # noqa: PLC0415
    from pytest_circuits.frontier.table import PICTURE, TABLE, picture, table  # noqa: PLC0415

    picture(())  # what is missing for it is said before hours of work
    try:
        with hold(out, doing="sweeping", option="--out"), interruptions():
            of = Sweep(asked, config.parent, out, lambda line: click.echo(line, err=True))
            for points in of.run():
                write_atomic(out / TABLE, table(points).encode())
                write_atomic(out / PICTURE, picture(points).encode())
    except KeyboardInterrupt as cause:
        by = f"stopped by {cause}" if str(cause) else "stopped"
        raise StoppedError(
            f"{by}; what is done is kept in {out}: run the same command again to go on"
        ) from None
    click.echo(table(points))
    click.echo(f"written: {out / PICTURE}, {out / TABLE}")
