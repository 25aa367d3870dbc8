"""`--circuits-model`, `--circuits-baseline`, `--circuits-device` and their ini twins."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.plugin.conftest import FOUR, Repository


def test_a_candidate_replaces_the_model_of_the_specs(
    repository: Repository, broken_folder: Path
) -> None:
    repository.write_good_spec()
    shutil.copytree(broken_folder, repository.path / "cand dir")

    result = repository.gate("--circuits-model", "cand dir")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "  model * cand dir (*), from the command line",
            (
                "*reproduce pytest --circuits --circuits-model 'cand dir' "
                "circuits/quote_close.circuit.yaml::quote_close::sufficient"
            ),
            "gate: FAIL for cand dir (*",
        ]
    )


def test_the_ini_twin_names_a_candidate_relative_to_the_ini_file(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write_good_spec()
    shutil.copytree(repository.path / "model", repository.path / "candidate")
    repository.write("pytest.ini", "[pytest]\ncircuits_model = candidate\n")
    monkeypatch.chdir(repository.path / "circuits")

    result = repository.gate()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["  model * candidate (*), from the ini file"])


def test_the_command_line_wins_over_the_ini_file(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("pytest.ini", "[pytest]\ncircuits_model = absent\n")

    result = repository.gate("--circuits-model=model")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["  model * model (*), from the command line"])


@pytest.mark.parametrize("option", ["--circuits-model", "--circuits-baseline"])
def test_a_folder_that_is_not_there_is_a_usage_error(repository: Repository, option: str) -> None:
    repository.write_good_spec()

    result = repository.gate(option, "absent")

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {option}: there is no folder 'absent'; *"])


def test_a_candidate_that_cannot_be_loaded_ends_with_status_2(repository: Repository) -> None:
    repository.write_good_spec()
    (repository.path / "candidate").mkdir()

    result = repository.gate("--circuits-model=candidate")

    assert result.ret == 2
    why = "Error: candidate: not a model directory: config.json, *is missing"
    result.stderr.fnmatch_lines([why])
    result.stdout.fnmatch_lines(["!*! Error: nothing was tested, for the reason given above !*!"])
    result.stdout.no_fnmatch_line("*is missing*")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_live_baseline_that_is_the_candidate_is_green_and_said_to_be_it(
    repository: Repository,
) -> None:
    repository.write_good_spec(claims=FOUR)
    shutil.copytree(repository.path / "model", repository.path / "base")

    result = repository.gate("--circuits-baseline=base", "--circuits-report=out.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "  baseline  base (*), the candidate itself, from the command line",
            "pass * stable * whole space * 0.0",
            "compared with the candidate itself, so that nothing can differ: quote_close",
        ]
    )
    (circuit,) = json.loads((repository.path / "out.json").read_text())["circuits"]
    assert (circuit["baseline"]["path"], circuit["baseline"]["is_candidate"]) == ("base", True)
    assert circuit["claims"][-1]["reason"].endswith("; the candidate was compared with itself")


def test_a_recorded_baseline_tells_which_model_it_is_of(
    repository: Repository, broken_folder: Path
) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    shutil.copytree(repository.path / "model", repository.path / "same")
    shutil.copytree(broken_folder, repository.path / "broken")

    same = repository.gate("--circuits-model=same", "--circuits-report=same.json")
    broken = repository.gate("--circuits-model=broken", "--circuits-report=broken.json")

    assert (same.ret, broken.ret) == (0, 1)
    same.stdout.fnmatch_lines(
        ["the candidate is the very model that the baseline was recorded from: quote_close"]
    )
    found, other = (
        json.loads((repository.path / f"{name}.json").read_text()) for name in ("same", "broken")
    )
    digest = found["model"]["digest"]
    told = {
        "path": "circuits/quote_close.baseline.yaml",
        "model_digest": digest,
        "recorded": True,
    }
    assert found["circuits"][0]["baseline"] == {**told, "is_candidate": True}
    assert other["circuits"][0]["baseline"] == {**told, "is_candidate": False}
    stable = found["circuits"][0]["claims"][-1]
    assert stable["reason"].endswith("; the baseline was recorded from this very model")
    broken.stdout.fnmatch_lines(
        [f"  baseline  circuits/quote_close.baseline.yaml, recorded from the model {digest[:12]}"]
    )


@pytest.mark.parametrize("layout", [{"separators": (",", ":")}, {"indent": 7}])
def test_white_space_in_a_tokenizer_changes_nothing(
    repository: Repository, layout: dict[str, Any]
) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    shutil.copytree(repository.path / "model", repository.path / "candidate")
    path = repository.path / "candidate" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), **layout))

    result = repository.gate("--circuits-model=candidate")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["the candidate is the very model that the baseline was recorded*"])


def test_a_live_baseline_catches_another_mechanism(
    repository: Repository, broken_folder: Path
) -> None:
    repository.write_good_spec(claims=("stable",))
    shutil.copytree(broken_folder, repository.path / "candidate")

    result = repository.gate("--circuits-baseline=model", "--circuits-model=candidate")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "  baseline  model (*), from the command line",
            "  baseline  model (*)",
            "*--circuits-model candidate --circuits-baseline model circuits/*::stable",
        ]
    )
    assert "itself" not in result.stdout.str()


def test_the_device_is_shown_and_repeated(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate("--circuits-device=cpu")

    result.stdout.fnmatch_lines(
        ["  device * cpu", "*reproduce pytest --circuits --circuits-device cpu circuits/*"]
    )


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_a_usage_error(repository: Repository, device: str) -> None:
    repository.write_good_spec()

    result = repository.gate(f"--circuits-device={device}")

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --circuits-device: device '{device}' cannot be used: *"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows the default without a GPU")
def test_the_default_device_is_the_cpu_where_there_is_no_gpu(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate()

    result.stdout.fnmatch_lines(["  device * cpu"])


def test_a_hypothesis_seed_is_part_of_the_command(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate("--hypothesis-seed=7")

    result.stdout.fnmatch_lines(["*reproduce pytest --circuits --hypothesis-seed=7 circuits/*"])


@pytest.mark.parametrize("option", ["--circuits-model", "--circuits-report", "--circuits-device"])
def test_an_empty_value_is_a_usage_error(repository: Repository, option: str) -> None:
    repository.write_good_spec()

    result = repository.gate(f"{option}=")

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {option} is empty; was it given a variable *"])


def test_a_name_that_is_too_long_is_a_usage_error(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--circuits-model", "x" * 300)

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --circuits-model: there is no folder *"])


def test_a_candidate_elsewhere_needs_no_ini_file(
    repository: Repository, broken_folder: Path
) -> None:
    repository.write_good_spec()

    result = repository.gate("--circuits-model", str(broken_folder))

    assert result.ret == 1
    result.stdout.fnmatch_lines(["gate: FAIL for *"])


def test_a_hypothesis_seed_that_is_no_number_is_a_usage_error(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--hypothesis-seed=abc")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --hypothesis-seed: 'abc' is not a whole number"])


@pytest.mark.parametrize("where", ["--option=DIR", "--option DIR", "variable", "file"])
def test_a_candidate_elsewhere_leaves_the_root_and_the_ini_file_alone(
    repository: Repository, broken_folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    repository.write_good_spec()
    (repository.path / "circuits").rename(repository.path / "mechanisms")
    repository.write("pyproject.toml", '[tool.pytest.ini_options]\ncircuits_paths = "mechanisms"\n')
    given = ["--circuits", "--circuits-model", str(broken_folder)]
    if where == "--option=DIR":
        given[1:] = ["=".join(given[1:])]
    elif where == "variable":
        monkeypatch.setenv("PYTEST_ADDOPTS", shlex.join(given))
        given = []
    elif where == "file":
        repository.write("gate.args", "\n".join(given))
        given = ["@gate.args"]

    result = repository.run(*given)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"rootdir: {repository.path}", "configfile: pyproject.toml", "fail *quote_close*"]
    )


def test_settings_that_a_candidate_brings_are_refused(
    repository: Repository, broken_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository.write_good_spec()
    candidate = tmp_path_factory.mktemp("incoming") / "candidate"
    shutil.copytree(broken_folder, candidate)
    (candidate / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    for name in ("numpy", "pydantic", "torch", "yaml"):
        (candidate / f"{name}.py").write_text("import os\nprint('gate: PASS')\nos._exit(0)\n")

    apart = repository.pytester.runpytest_subprocess("--circuits", "--circuits-model", candidate)
    misspelt = repository.pytester.runpytest_subprocess(
        "--circuits", "--circuits-model", candidate, "--circuits-report=x.json", "--bogus"
    )
    joined = repository.gate(f"--circuits-model={candidate}")

    assert (apart.ret, misspelt.ret, joined.ret) == (4, 4, 1)
    apart.stderr.fnmatch_lines(
        [f"ERROR: pytest has read the settings in {candidate}/pytest.ini*--circuits-model=DIR*"]
    )
    joined.stdout.fnmatch_lines(["gate: FAIL*"])
