"""`pytest-circuits history EVIDENCE...`."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_circuits.commands import FILE, PATH, write_named
from pytest_circuits.errors import RecordError
from pytest_circuits.report.record import MOST_BYTES, run_from_json
from pytest_circuits.report.run import Run
from pytest_circuits.system.files import read_bounded

_BEGINS = "<!doctype html>\n"


@click.command()
@click.argument("evidence", metavar="EVIDENCE...", nargs=-1, required=True, type=PATH)
@click.option("--html", "page", metavar="FILE", type=FILE, help="Write it as one page.")
def history(evidence: tuple[Path, ...], page: Path | None) -> None:
    """Say what changed over versions, from the EVIDENCE of each, the oldest first.

    Told is what the newest version says otherwise than the ones before. The page shows every
    verdict, grade and size, the rates and losses as curves, and marks what changed. Ends with
    status 0 whatever the verdicts were.
    """
    # What makes pages is imported after the command line has been read.
    from pytest_circuits.report.history import history_of, history_page  # noqa: PLC0415

    runs = [(str(path), _read(path)) for path in evidence]
    found = history_of(runs)
    for number, version in enumerate(found.versions, start=1):
        models = ", ".join(version.models) or "no model"
        click.echo(f"{number}  {version.mark.word}  {models}  {version.source}")
    for change in found.changes:
        click.echo(change)
    if not found.changes:
        click.echo("no verdict, grade or size has changed since the version before")
    if page is not None:
        write_named(page, history_page(runs), begins=_BEGINS)


def _read(path: Path) -> Run:
    content = read_bounded(path, max_bytes=MOST_BYTES, error=RecordError)
    return run_from_json(content, source=str(path))
