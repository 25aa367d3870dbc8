"""Baseline files that were edited by hand: with the digest as it was, and with one made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_circuits.claims.stable.baseline_file import read_baseline, write_baseline
from pytest_circuits.claims.stable.observation import Observation
from tests.known_models import Weights, write_quote_copier
from tests.plugin.conftest import FOUR, Repository

FILE = "circuits/quote_close.baseline.yaml"


@pytest.fixture(scope="module")
def update_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate that is a little less sure."""
    weights = Weights(path=1.3, jitter=0.05)
    return write_quote_copier(tmp_path_factory.mktemp("edited") / "update", weights)


@pytest.fixture
def released(repository: Repository, update_folder: Path) -> Repository:
    """A repository with a recorded baseline and a candidate."""
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    shutil.copytree(update_folder, repository.path / "candidate")
    return repository


def _forge(repository: Repository, **changed: Any) -> None:  # noqa: ANN401  (of any field)
    """Write other numbers, with the digest that belongs to them."""
    recorded = read_baseline(repository.path / FILE)
    assert recorded is not None
    observation = replace(recorded.observation, **changed)
    write_baseline(repository.path / FILE, replace(recorded, observation=observation))


def _known(repository: Repository) -> Observation:
    recorded = read_baseline(repository.path / FILE)
    assert recorded is not None
    return recorded.observation


def test_a_candidate_is_gated_against_the_file_as_it_was_recorded(released: Repository) -> None:
    assert released.gate("--circuits-model=candidate").ret == 0


def test_an_edited_file_is_refused_and_can_be_recorded_again(released: Repository) -> None:
    file = released.path / FILE
    file.write_text(file.read_text().replace("\naccepted:\n", "\naccepted: \n"))
    before = released.gate()
    file.write_text(file.read_text().replace("estimate: 1.0", "estimate: 0.9", 1))

    edited = released.gate()
    anew = released.gate("--circuits-update=changed")

    assert (before.ret, edited.ret, anew.ret) == (2, 2, 0)
    told = " ".join(edited.stdout.str().split())
    assert f"{FILE}: was edited after it was recorded" in told
    assert "`pytest --circuits --circuits-update=changed` records it again" in told
    assert released.gate().ret == 0


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("whole", lambda x: 2 * x, "other preferences of the whole model"),
        ("alone", lambda x: 0.5 * x, "other preferences of the circuit alone"),
        ("without", lambda x: x + 1, "other preferences without the circuit"),
        ("effects", lambda x: 1.1 * x, "other effects"),
        ("signals", lambda x: np.roll(x, 1, axis=1), "other signals (one correlates by"),
        ("attention", lambda x: np.roll(x, 1, axis=2), "other attention"),
        ("probed", lambda x: np.roll(x, 1, axis=1), "other signals of probes"),
    ],
)
def test_numbers_that_the_released_model_does_not_show_are_refused_where_it_is_at_hand(
    released: Repository, name: str, change: Callable[[np.ndarray], np.ndarray], says: str
) -> None:
    _forge(released, **{name: change(getattr(_known(released), name))})

    result = released.gate("--circuits-model=candidate")

    assert result.ret == 2
    told = " ".join(result.stdout.str().split())
    assert f"the baseline beside it holds {says}" in told
    assert "than the model that it names, model (" in told
    assert "Traceback" not in told


def test_another_text_of_the_reference_is_a_difference_too(released: Repository) -> None:
    recorded = read_baseline(released.path / FILE)
    assert recorded is not None
    write_baseline(released.path / FILE, replace(recorded, reference_text="0" * 64))

    result = released.gate("--circuits-model=candidate")

    assert result.ret == 2
    told = " ".join(result.stdout.str().split())
    assert "says that its reference was measured on another text than the model" in told


def test_where_the_released_model_is_gone_the_file_stands_alone(released: Repository) -> None:
    _forge(released, effects=1.1 * _known(released).effects)
    shutil.rmtree(released.path / "model")

    assert released.gate("--circuits-model=candidate").ret == 0


def test_the_released_model_itself_fails_against_another_ones_numbers(
    released: Repository,
) -> None:
    _forge(released, effects=-_known(released).effects)

    result = released.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["fail * stable *"])


def test_a_forged_file_can_be_recorded_again(released: Repository) -> None:
    _forge(released, effects=1.1 * _known(released).effects)

    result = released.gate("--circuits-model=candidate", "--circuits-update=changed")

    assert result.ret == 0
    assert released.gate("--circuits-model=candidate").ret == 0
