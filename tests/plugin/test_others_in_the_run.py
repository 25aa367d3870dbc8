"""Faults that users of other plugins met: each is one that could have made this gate green."""

from __future__ import annotations

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from tests.plugin.conftest import Repository


def _circuits(repository: Repository, name: str) -> object:
    return json.loads((repository.path / name).read_text(encoding="utf-8"))["circuits"]


def _random_states() -> tuple[object, ...]:
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002  (what others use)
    return random.getstate(), str(of_numpy), torch.get_rng_state().tolist()


def test_a_plugin_that_swallows_a_claim_does_not_make_it_pass(repository: Repository) -> None:
    """pytest-rerunfailures 359: with --reruns=-1 nothing ran, and the exit status was 0."""
    repository.write_good_spec()
    repository.write(
        "conftest.py",
        "import pytest\n@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_protocol(item): return item.name == 'necessary' or None\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["gate: INCONCLUSIVE*1 did not run (quote_close necessary)"])


@pytest.mark.parametrize("restarts", [[], ["--max-worker-restart=0"]], ids=["", "none"])
def test_a_conftest_that_fails_in_workers_alone_is_not_green(
    repository: Repository, restarts: list[str]
) -> None:
    """pytest-xdist 814: such a run ended with 0."""
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import os\nif 'PYTEST_XDIST_WORKER' in os.environ: raise ImportError('not here')\n",
    )

    result = repository.gate("-n1", *restarts)

    assert result.ret not in {0, 5}
    result.stdout.no_fnmatch_line("gate: PASS*")


def test_a_worker_that_dies_once_leaves_its_claim_undecided(repository: Repository) -> None:
    """pytest-xdist 932: a test that took its worker with it was shown as failed and as passed."""
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import os, pathlib, pytest\n@pytest.fixture(autouse=True)\ndef die_once(request):\n"
        "    mark = pathlib.Path(__file__).with_name('died')\n"
        "    if request.node.name == 'necessary' and not mark.exists():\n"
        "        mark.touch()\n        os._exit(1)\n",
    )

    result = repository.gate("-n1")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["gate: *do not release*necessary*"])


def test_no_random_state_of_the_process_counts_or_is_moved(repository: Repository) -> None:
    """Hypothesis 1919, pytest-randomly 402: tests that seeded what all share made others alike."""
    repository.write_good_spec(claims=("behaves", "sufficient", "necessary", "faithful"))

    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (what others use)
        torch.manual_seed(seed)
        before = _random_states()
        assert repository.gate(f"--circuits-report={seed}.json").ret == 0
        assert _random_states() == before

    assert _circuits(repository, "1.json") == _circuits(repository, "2.json")


@pytest.mark.usefixtures("profile_given_back")
def test_a_profile_of_hypothesis_does_not_count(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bernstein 4118: the profile that Hypothesis takes in CI gave other verdicts on one commit."""
    repository.write_good_spec()
    assert repository.gate("--circuits-report=usual.json").ret == 0
    monkeypatch.setenv("CI", "1")
    repository.write(
        "conftest.py",
        "from hypothesis import Phase, settings\n"
        "settings.register_profile('lazy', max_examples=1, phases=[Phase.explicit], deadline=1)\n"
        "settings.load_profile('lazy')\n",
    )

    assert repository.gate("--circuits-report=lazy.json").ret == 0
    assert _circuits(repository, "lazy.json") == _circuits(repository, "usual.json")


def test_weights_of_sixteen_bits_are_gated_as_the_numbers_that_they_are(
    repository: Repository,
) -> None:
    """transformers 34743: weights that were saved as bfloat16 were another model on the CPU."""
    repository.write_good_spec()
    weights = repository.path / "model" / "model.safetensors"
    short = {name: tensor.bfloat16() for name, tensor in load_file(weights).items()}
    shutil.copytree(repository.path / "model", repository.path / "short")
    save_file(short, repository.path / "short" / "model.safetensors")
    model = load_model(repository.path / "short")
    text = load_reference(load_model(repository.path / "model")).tokens
    save_reference(model, measure(model, text))

    result = repository.gate("--circuits-model=short")

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"gate: PASS for short ({model.digest[:12]}) *"])


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_folder_whose_name_is_no_text_is_refused_in_words(repository: Repository) -> None:
    """pytest-xdist 843: a name that is not UTF-8 ended the session in an internal error."""
    spec = repository.write_good_spec()
    folder = repository.path / "circuits" / os.fsdecode(b"f\xf6\xf6")
    folder.mkdir()
    spec.write_text(spec.read_text().replace("../model", "../../model"))
    spec.rename(folder / spec.name)

    result = repository.gate("-n1")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *f*quote_close.circuit.yaml: its name is not UTF-8, *"])


def test_a_specification_behind_a_link_is_gated_once(repository: Repository) -> None:
    """pytest 6941 and 7981: linked folders were collected twice, or not at all."""
    spec = repository.write_good_spec()
    (repository.path / "linked").symlink_to(spec.parent, target_is_directory=True)

    behind = repository.gate("linked")
    both = repository.gate("linked", "circuits")

    assert behind.ret == 0
    behind.assert_outcomes(passed=3)
    assert both.ret == 2
    both.stdout.fnmatch_lines(["*circuit 'quote_close' already stands in linked/*"])
