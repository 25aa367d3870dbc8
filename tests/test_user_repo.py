"""`examples/user_repo` runs as its guide says, and its pipelines are valid."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from pytest_circuits.report.outputs import OUTPUTS
from pytest_circuits.spec.load import load_spec
from tests.loaded import check_once

ROOT = Path(__file__).parent.parent
REPOSITORY = ROOT / "examples" / "user_repo"
WORKFLOW = REPOSITORY / ".github" / "workflows" / "circuits.yml"
GITLAB = REPOSITORY / ".gitlab-ci.yml"
QUICK = "with_as"


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        (WORKFLOW, ["--builtin-schema", "vendor.github-workflows"]),
        (GITLAB, ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
    ids=["github", "gitlab"],
)
def test_a_pipeline_keeps_to_the_published_schema(file: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(check_jsonschema, [*arguments, str(file)])

    assert result.exit_code == 0, result.output


def steps_of(workflow: Path) -> Iterator[dict[str, str]]:
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        yield from job["steps"]


def test_actions_are_pinned_to_commits_and_nothing_of_a_user_is_put_into_a_script() -> None:
    for step in steps_of(WORKFLOW):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert "${{" not in step.get("run", "")


def test_a_job_may_do_no_more_than_it_has_to() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == {
        "gate": {"contents": "read"},
        "attest": {"id-token": "write", "attestations": "write"},
    }


@pytest.mark.parametrize("file", [WORKFLOW, GITLAB, REPOSITORY / "README.md"], ids=lambda p: p.name)
def test_every_option_that_is_shown_exists(file: Path) -> None:
    known = {f"--circuits-{name}" for name in [*OUTPUTS, "model", "update"]}

    shown = set(re.findall(r"--circuits-[\w-]+", file.read_text(encoding="utf-8")))

    assert shown
    assert shown <= known


def _evidence(baseline: Path) -> str:
    """A baseline without the rates that were accepted: the bundled ones make more claims."""
    text = baseline.read_text(encoding="utf-8")
    return re.sub(r"^accepted:\n(  .*\n)+|^digest: .*\n", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("circuits/*.circuit.yaml")), ids=str)
def test_its_circuits_and_baselines_are_the_bundled_ones(path: Path) -> None:
    bundled = ROOT / "circuits" / path.name
    baseline = path.name.replace(".circuit.", ".baseline.")

    assert load_spec(path).digest == load_spec(bundled).digest
    mine, theirs = (_evidence(p.with_name(baseline)) for p in (path, bundled))
    assert mine == theirs


def test_it_runs_elsewhere_with_a_model_of_its_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.gate.loading.check_reference", check_once)
    shutil.copytree(REPOSITORY, pytester.path, dirs_exist_ok=True)
    shutil.copytree(ROOT / "models" / "plainpython", pytester.path / "model")
    project = pytester.path / "pyproject.toml"
    lines = project.read_text().splitlines()
    project.write_text("\n".join(line for line in lines if not line.startswith("circuits_model")))

    claims = [f"circuits/{QUICK}.circuit.yaml::{QUICK}::{claim}" for claim in ("behaves", "stable")]
    result = pytester.runpytest_inprocess("--circuits", *claims)

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["gate: PASS OF A PART for model (*) - no verdict: 2 claims about 1 circuit ran, *"]
    )
