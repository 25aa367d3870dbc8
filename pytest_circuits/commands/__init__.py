"""The commands of `pytest-circuits`, one a file."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
