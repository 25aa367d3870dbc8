"""The commands of `pytest-circuits`, one a file."""

from pathlib import Path

import click

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import write_atomic

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)


def write_named(path: Path, text: str, *, begins: str = "") -> None:
    """Write a file that the user named, and say so; UsageError where that cannot be.

    begins: how what may be replaced begins, so that nothing else is lost by a slip.
    """
    content = text.encode()
    try:
        if begins and path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(len(begins)) != begins.encode():
                    raise UsageError(f"{path}: is there already, and was not made by this command")
        write_atomic(path, content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    click.echo(f"written: {path}")
