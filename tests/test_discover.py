"""Specifications are found on disk, whatever pytest is told to ignore."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.discover import find_specs, is_misnamed, right_name


def touch(folder: Path, *names: str) -> None:
    """Make empty files, with the folders above them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_specifications_below_a_folder_are_found_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.circuit.yaml", "a/c.circuit.yaml", "a/readme.md", "build/d.circuit.yaml")

    found = find_specs([tmp_path])

    names = [path.relative_to(tmp_path).as_posix() for path in found.specs]
    assert names == ["a/c.circuit.yaml", "b.circuit.yaml", "build/d.circuit.yaml"]


def test_hidden_and_installed_folders_are_left_out(tmp_path: Path) -> None:
    touch(
        tmp_path,
        ".git/a.circuit.yaml",
        "node_modules/a.circuit.yaml",
        "environment/pyvenv.cfg",
        "environment/lib/python3/site-packages/a/a.circuit.yaml",
    )

    assert find_specs([tmp_path]).specs == ()


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_a_folder_that_says_to_be_an_environment_hides_nothing(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, f"part/{mark}", "part/deep/a.circuit.yaml")

    assert find_specs([tmp_path]).specs == (tmp_path / "part/deep/a.circuit.yaml",)


def test_a_file_that_is_named_is_found(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden/a.circuit.yaml")
    path = tmp_path / ".hidden/a.circuit.yaml"

    assert find_specs([path]).specs == (path,)


def test_overlapping_places_give_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/a.circuit.yaml")

    assert len(find_specs([tmp_path, tmp_path / "a"]).specs) == 1


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/a.circuit.yaml")
    (tmp_path / "a/again").symlink_to(tmp_path, target_is_directory=True)

    assert len(find_specs([tmp_path]).specs) == 1


@pytest.mark.parametrize(
    "name",
    [
        "x.circuits.yaml",
        "x.circuit.yml",
        "X.CIRCUIT.YAML",
        "x.circut.yaml",
        "x.y.ciruit.yml",
        "x_circuit.yaml",
        "x-circuits.yml",
        "x circuit.yaml",
    ],
)
def test_names_that_were_meant_are_recognised(name: str) -> None:
    assert is_misnamed(Path(name))


@pytest.mark.parametrize(
    "name",
    [
        "x.circuit.yaml",
        "x_circuit.circuit.yaml",
        "x.baseline.yaml",
        "circuit.yaml",
        "circuit_x.yaml",
        "x.yaml",
        "x.circus.yml",
        "x.circuit.py",
    ],
)
def test_other_names_are_left_alone(name: str) -> None:
    assert not is_misnamed(Path(name))


def test_the_right_name_keeps_the_stem() -> None:
    assert right_name(Path("deep/x.y.circuits.yml")) == "x.y.circuit.yaml"
    assert right_name(Path("two_words_circuit.YAML")) == "two_words.circuit.yaml"
