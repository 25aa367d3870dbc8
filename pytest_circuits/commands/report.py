"""`pytest-circuits report EVIDENCE`."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import RecordError, UsageError
from pytest_circuits.report import outputs
from pytest_circuits.report.record import MOST_BYTES, run_from_json
from pytest_circuits.report.words import shown_path
from pytest_circuits.report.writing import (
    Record,
    Target,
    in_order,
    in_the_way,
    output,
    write_output,
)
from pytest_circuits.system.files import read_bounded

_OPTIONS = [
    click.Option([f"--{name}"], type=PATH, metavar="FILE", help=f"{about}.")
    for name, about in outputs.names()
    if name != outputs.RECORD
]


@click.command(params=[click.Argument(["evidence"], type=PATH), *_OPTIONS])
def report(evidence: Path, **asked: Path | None) -> None:
    """Make the outputs of a run again, from the EVIDENCE that `--circuits-report` wrote.

    Each is what the run itself has written, or would have, byte for byte. The evidence is named as
    it is found from where this command is run. Ends with status 0 whatever the verdict was.
    """
    files = {name.replace("_", "-"): path for name, path in asked.items() if path is not None}
    content = read_bounded(evidence, max_bytes=MOST_BYTES, error=RecordError)
    run = run_from_json(content, source=str(evidence))
    _check(files, evidence)
    record = Record(shown_path(evidence.absolute(), folder=Path.cwd()), sha256(content).hexdigest())
    for name in in_order(list(files)):
        shown = shown_path(files[name].absolute(), folder=Path.cwd())
        try:
            write_output(output(name), run, Target(files[name], shown, record))
        except OSError as error:
            raise UsageError(f"{shown}: cannot be written: {error.strerror}") from error
        click.echo(f"{name}: {shown}")


def _check(files: dict[str, Path], evidence: Path) -> None:
    """Raise UsageError where something other than an output would be lost."""
    if not files:
        raise UsageError(f"nothing to make; name a file: {', '.join(o.opts[0] for o in _OPTIONS)}")
    taken = {os.path.realpath(evidence): "EVIDENCE"}
    for name, path in files.items():
        if path.is_dir():
            raise UsageError(f"--{name}: {path} is a folder; name a file")
        other = taken.setdefault(os.path.realpath(path), f"--{name}")
        if other != f"--{name}":
            raise UsageError(f"{other} and --{name} both name {path}; give each a file of its own")
        if problem := in_the_way(name, path, shown=str(path)):
            raise UsageError(f"--{name}: {problem}")
