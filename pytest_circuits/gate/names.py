"""How a run calls things: for its user, and in reports, which never hold an absolute path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_circuits.gate.settings import Directory, Settings
from pytest_circuits.model.protocol import Model
from pytest_circuits.report.run import Artifact
from pytest_circuits.report.words import shown_path


@dataclass(frozen=True, slots=True)
class Names:
    """The names of files and models, which depend on where pytest was started."""

    root: Path  # what reports are relative to
    folder: Path  # where pytest was started

    def shown(self, path: Path) -> str:
        """A path as the user can open it."""
        return shown_path(path, folder=self.folder)

    def relative(self, path: Path) -> str:
        """A path as reports hold it."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def given(self, place: Directory) -> str:
        """The folder that an option names; a command in a report holds no absolute path."""
        absolute = Path(place.given).is_absolute()
        return os.path.relpath(place.path, self.folder) if absolute else place.given

    def artifact(self, model: Model, place: Directory) -> Artifact:
        """What reports say about a model; of a folder elsewhere, only what was given."""
        if place.path.is_relative_to(self.root):
            return Artifact(self.relative(place.path), model.digest)
        given = Path(place.given)
        return Artifact(place.path.name if given.is_absolute() else given.as_posix(), model.digest)


def repeated_options(settings: Settings, names: Names, search_seed: int | None) -> tuple[str, ...]:
    """Options of a run that a reader has to repeat: not those of the ini file."""
    named = (
        ("--circuits-model", settings.model),
        ("--circuits-baseline", settings.baseline),
        ("--circuits-match", settings.match),
    )
    options = [
        word
        for option, place in named
        if place and place.source == "command line"
        for word in (option, names.given(place))
    ]
    if settings.device and settings.device_source == "command line":
        options += ["--circuits-device", settings.device]
    if settings.selfcheck:
        options.append(f"--circuits-selfcheck={settings.selfcheck}")
    if search_seed is not None:
        options.append(f"--hypothesis-seed={search_seed}")
    return tuple(options)
