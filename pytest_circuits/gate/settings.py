"""The effective settings of a run: the command line wins over the ini file, that over defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from pytest_circuits.report import outputs

MOST_SEEDS = 1000
LISTINGS = {  # what makes pytest list something and test nothing
    "collectonly": ("--collect-only", "--collectonly", "--co"),
    "showfixtures": ("--fixtures", "--funcargs"),
    "show_fixtures_per_test": ("--fixtures-per-test",),
    "cacheshow": ("--cache-show",),
    "markers": ("--markers",),
    "help": ("--help", "-h"),
    "version": ("--version", "-V", "-VV"),
}


class Update(StrEnum):
    NONE = "none"
    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Directory:
    """A model directory: the words of the user, and the place that they name."""

    given: str
    path: Path
    source: str  # "command line" or "ini file"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for, resolved against the folder that each setting is relative to."""

    model: Directory | None  # None: the model that each spec names
    baseline: Directory | None  # None: the baseline files beside the specs
    paths: tuple[Path, ...]  # where the gate looks when no path is on the command line
    update: Update
    outputs: Mapping[str, Path]  # what to write, by name of the output
    device: str | None  # None: cuda when there is one, else cpu
    device_source: str = "default"
    selfcheck: int = 0  # seeds under which the gate is put to the test itself
    require: tuple[str, ...] = ()  # claims that every specification has to make, unchecked
    match: Directory | None = None  # where circuits that are found again are written
    annotations: bool = True  # mark claims that do not pass in the files of a pull request


def add_options(parser: pytest.Parser) -> None:
    """The options and their ini twins; every one is silent unless `--circuits` is given."""
    group = parser.getgroup("circuits", "release gates on circuits (pytest-circuits)")

    def add(name: str, metavar: str, text: str) -> None:
        group.addoption(f"--circuits-{name}", metavar=metavar, help=text)

    group.addoption(
        "--circuits",
        action="store_true",
        help="collect *.circuit.yaml and put their claims to the test (default: off)",
    )
    add("model", "DIR", "candidate model to test (default: the model that each spec names)")
    add("baseline", "DIR", "model to compare with (default: the baseline files beside the specs)")
    add(
        "match",
        "DIR",
        "find each circuit again in a candidate whose nodes have other numbers, write its "
        "specification to DIR for review, and test that (default: not)",
    )
    group.addoption(
        "--circuits-update",
        choices=[choice.value for choice in Update],
        help="record baselines: none, new = add missing ones, "
        "changed = also rewrite those of circuits that ran (default: none)",
    )
    group.addoption(
        "--circuits-update-in-ci",
        action="store_true",
        help="let --circuits-update write under CI (default: refused)",
    )
    for name, text in outputs.names():
        add(name, "FILE", f"{text} (default: no file)")
    add("device", "DEVICE", "device of the models (default: cuda if there, else cpu)")
    add(
        "selfcheck",
        "N",
        "test each circuit's claims themselves under N seeds: green for the model against "
        "itself, red for a shuffled circuit (default: not)",
    )
    _add_ini_values(parser)


def _add_ini_values(parser: pytest.Parser) -> None:
    for name in ("model", "baseline", "match", *dict(outputs.names())):
        parser.addini(key(name), f"twin of --circuits-{name}, relative to this file")
    parser.addini(
        "circuits_annotations",
        "print workflow commands under GitHub Actions, which mark the lines of claims that do not "
        "pass (default: true)",
        type="bool",
        default=True,
    )
    parser.addini("circuits_device", "twin of --circuits-device")
    parser.addini(
        "circuits_paths",
        "folders and files that `pytest --circuits` runs when no path is given (default: circuits)",
        type="args",
        default=["circuits"],
    )
    parser.addini(
        "circuits_require",
        "claims that every specification has to declare; those about a circuit, if it has nodes "
        "(default: none)",
        type="args",
    )


def names_with_value() -> tuple[str, ...]:
    """Every option `--circuits-NAME` that takes a value."""
    return ("model", "baseline", "match", "update", *dict(outputs.names()), "device", "selfcheck")


def refuse_stray_options(config: pytest.Config) -> None:
    """Raise UsageError when a `--circuits-...` option is given without `--circuits`.

    Without this, a forgotten `--circuits` is a green run that tested no circuit.
    """
    for name in (*names_with_value(), "update-in-ci"):
        if config.getoption(key(name)) not in {None, False}:
            raise pytest.UsageError(
                f"--circuits-{name} does nothing without --circuits; add --circuits to run the gate"
            )


def read_settings(config: pytest.Config) -> Settings:
    """Return the effective settings, or raise UsageError saying what to change."""
    baseline = _model_directory(config, "circuits_baseline")
    update = _update(config)
    if baseline is not None and update is not Update.NONE:
        raise pytest.UsageError(
            "--circuits-update records baseline files, and --circuits-baseline asks to leave them "
            "aside; give one of the two"
        )
    return Settings(
        model=_model_directory(config, "circuits_model"),
        baseline=baseline,
        paths=tuple(ini_folder(config) / given for given in config.getini("circuits_paths")),
        update=update,
        outputs=_outputs(config),
        device=_option(config, "circuits_device") or config.getini("circuits_device") or None,
        device_source="command line" if config.getoption("circuits_device") else "ini file",
        selfcheck=_selfcheck(config),
        require=tuple(config.getini("circuits_require")),
        match=_match(config, update),
        annotations=config.getini("circuits_annotations"),
    )


def _match(config: pytest.Config, update: Update) -> Directory | None:
    """Where matched circuits go; only a candidate can be searched, and only without recording."""
    place = _place(config, "circuits_match")
    if place is None:
        return None
    if not (config.getoption("circuits_model") or config.getini("circuits_model")):
        raise pytest.UsageError(
            "--circuits-match looks for circuits in a candidate; give it as --circuits-model"
        )
    if update is not Update.NONE:
        raise pytest.UsageError(
            "--circuits-match tests specifications that nobody has reviewed yet, and "
            "--circuits-update would record their baselines; give one of the two"
        )
    return place


def _outputs(config: pytest.Config) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, _ in outputs.names():
        place = _place(config, key(name))
        if place is None:
            continue
        if os.path.isdir(place.path):  # noqa: PTH112  (bears any name)
            raise pytest.UsageError(f"--circuits-{name}: {place.given} is a folder; name a file")
        if other := next((other for other, path in found.items() if path == place.path), None):
            raise pytest.UsageError(
                f"--circuits-{other} and --circuits-{name} both name {place.given}; "
                "give each a file of its own"
            )
        found[name] = place.path
    return found


def _selfcheck(config: pytest.Config) -> int:
    given = _option(config, "circuits_selfcheck")
    if given is None:
        return 0
    if (
        not (given.isascii() and given.isdecimal() and len(given) < 5)
        or not 1 <= int(given) <= MOST_SEEDS
    ):
        raise pytest.UsageError(
            f"--circuits-selfcheck: {given} is not a number of seeds from 1 to {MOST_SEEDS}"
        )
    return int(given)


def ini_folder(config: pytest.Config) -> Path:
    """Return the folder that paths in the ini file are relative to; without one, where we are.

    Without an ini file pytest takes the folder of a model on the command line for a path to tests,
    and looks for its root folder above it.
    """
    return config.invocation_params.dir if config.inipath is None else config.inipath.parent


def only_lists(config: pytest.Config) -> bool:
    """Whether a run is asked to list something, and to test nothing."""
    return any(lists(config, name) for name in LISTINGS)


def lists(config: pytest.Config, name: str) -> bool:
    """Whether one of the listings was asked for; --version is none unless it is said twice."""
    found = config.getoption(name, default=False)
    return (found or 0) > 1 if name == "version" else bool(found)


def named_outputs(config: pytest.Config) -> dict[str, Path]:
    """Return where the outputs would go, by name, of a command line that may be refused."""
    found = {name: _named(config, key(name)) for name, _ in outputs.names()}
    return {name: place.path for name, place in found.items() if place is not None}


def key(name: str) -> str:
    """The name of an option in the ini file, and in pytest's configuration."""
    return f"circuits_{name.replace('-', '_')}"


def _place(config: pytest.Config, name: str) -> Directory | None:
    _option(config, name)  # refuses what is empty
    return _named(config, name)


def _named(config: pytest.Config, name: str) -> Directory | None:
    given = config.getoption(name, default=None)  # none where no command line was read
    if given:
        path = config.invocation_params.dir / given
        return Directory(given, Path(os.path.normpath(path)), "command line")
    given = config.getini(name)
    if given:
        return Directory(given, Path(os.path.normpath(ini_folder(config) / given)), "ini file")
    return None


def _option(config: pytest.Config, name: str) -> str | None:
    """Return what the command line says; UsageError for the nothing that an unset variable is."""
    given: str | None = config.getoption(name)
    if given == "":
        raise pytest.UsageError(
            f"--{name.replace('_', '-')} is empty; was it given a variable that is not set?"
        )
    return given


def _model_directory(config: pytest.Config, name: str) -> Directory | None:
    place = _place(config, name)
    if place is not None and not os.path.isdir(place.path):  # noqa: PTH112  (bears any name)
        option = f"--{name.replace('_', '-')}" if place.source == "command line" else name
        raise pytest.UsageError(
            f"{option}: there is no folder {place.given!r}; "
            "give a model directory (config.json, model.safetensors, tokenizer.json)"
        )
    return place


def _update(config: pytest.Config) -> Update:
    update = Update(config.getoption("circuits_update") or Update.NONE)
    forced = config.getoption("circuits_update_in_ci")
    under_ci = os.environ.get("CI") or os.environ.get("BUILD_NUMBER")
    if update is not Update.NONE and under_ci and not forced:
        raise pytest.UsageError(
            f"--circuits-update={update} is refused under CI, where no one reviews a new baseline; "
            "record it on a checkout and commit it, or add --circuits-update-in-ci"
        )
    return update
