"""Whatever keeps a claim from running keeps the gate from being green."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin.conftest import Repository

ONE = "circuits/quote_close.circuit.yaml::quote_close"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-k", "not necessary"],
        ["-m", "not absent", "-k", "behaves"],
        ["--deselect", f"{ONE}::necessary"],
    ],
)
def test_a_deselected_claim_fails_the_gate(repository: Repository, arguments: list[str]) -> None:
    repository.write_good_spec()

    result = repository.gate(*arguments)

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*deselected (-k, -m, --deselect, --lf)*", "gate: INCONCLUSIVE*"])


def test_deselecting_everything_is_a_usage_error(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("circuits/test_other.py", "def test_other(): pass\n")

    result = repository.gate("-k", "test_other")

    assert result.ret == 4
    result.assert_outcomes(passed=1, deselected=3)


def test_last_failed_alone_is_not_green(repository: Repository) -> None:
    spec = repository.write_bad_spec()
    repository.write_good_spec()
    repository.gate()
    spec.write_text(spec.read_text().replace("sufficient: {rate: 0.95", "sufficient: {rate: 0.01"))

    result = repository.gate("--lf")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["gate: *do not release*"])


def test_a_skipped_claim_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
        "    items[1].add_marker(pytest.mark.skip(reason='too slow'))\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["skipped  quote_close  sufficient*", "*was skipped: too slow", "gate: INCONCLUSIVE*"]
    )


def test_an_expected_failure_is_still_a_failure(repository: Repository) -> None:
    repository.write_bad_spec()
    repository.write(
        "circuits/conftest.py",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
        "    [item.add_marker(pytest.mark.xfail) for item in items]\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.assert_outcomes(xpassed=1, xfailed=1)
    result.stdout.fnmatch_lines(["fail * weak_path * sufficient*", "gate: FAIL*"])


def test_an_item_removed_behind_pytests_back_is_missed(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py", "def pytest_collection_modifyitems(items):\n    del items[1]\n"
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["1 claim did not run", "gate: *of 3 claims, 1 did not run (quote_close sufficient)"]
    )


def test_an_ignored_specification_is_missed(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("circuits/build/other.circuit.yaml", "version: 1\n")

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["circuits/build/other.circuit.yaml: lies where the gate looks*"])


def test_stopping_at_the_first_failure_shows_what_did_not_run(repository: Repository) -> None:
    repository.write_bad_spec("a_weak_path")
    repository.write_good_spec()

    result = repository.gate("-x")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "3 claims did not run",
            "gate: *; 3 did not run (quote_close behaves, sufficient, necessary)",
        ]
    )


def test_an_error_in_a_fixture_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef broken():\n"
        "    yield\n    raise RuntimeError('teardown')\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["error * quote_close * behaves*", "gate: FAIL*"])


def test_setup_only_is_not_green(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--setup-only")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["3 claims did not run"])


def test_a_folder_without_specifications_is_a_usage_error(repository: Repository) -> None:
    repository.write("tests/test_other.py", "def test_other(): pass\n")

    result = repository.gate("tests")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: no specification (*.circuit.yaml) in tests: *"])


def test_a_missing_default_folder_is_a_usage_error(repository: Repository) -> None:
    result = repository.gate()

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: no specification (*.circuit.yaml) in circuits: *"])


@pytest.mark.parametrize(
    "name", ["x.circuits.yaml", "x.circuit.yml", "x_circuit.yaml", "x.CIRCUIT.YAML"]
)
def test_a_mistyped_file_name_is_a_usage_error(repository: Repository, name: str) -> None:
    repository.write_good_spec()
    repository.write(f"circuits/{name}", "version: 1\n")

    result = repository.gate()

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: circuits/{name}: *rename it to x.circuit.yaml"])


@pytest.mark.parametrize(
    "listing",
    ["--collect-only", "--fixtures", "--fixtures-per-test", "--markers", "--cache-show", "--help"],
)
def test_a_listing_that_the_command_line_does_not_ask_for_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, listing: str
) -> None:
    repository.write_good_spec()
    record = repository.write("test.json", '{"passedTests": [], "result": "PASSED"}')
    asked = repository.gate(listing, "--circuits-predicate=test.json")
    monkeypatch.setenv("PYTEST_ADDOPTS", listing)

    hidden = repository.gate("--circuits-predicate=test.json")

    assert asked.ret == 0
    asked.stdout.no_fnmatch_line("*do not release*")
    assert hidden.ret == 4
    hidden.stderr.fnmatch_lines([f"ERROR: {listing} in PYTEST_ADDOPTS or addopts makes pytest *"])
    assert not record.exists()


def test_a_folder_that_says_to_be_an_environment_hides_nothing(repository: Repository) -> None:
    repository.write_good_spec()
    spec = repository.write_bad_spec()
    (spec.parent / "part").mkdir()
    spec.rename(spec.parent / "part" / spec.name)
    repository.write("circuits/part/pyvenv.cfg", "home = /usr/bin\n")

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["circuits/part/weak_path.circuit.yaml: *pytest did not collect it (*environment, *"]
    )


def test_two_circuits_of_one_name_are_refused(repository: Repository) -> None:
    repository.write_good_spec("a")
    repository.write(
        "circuits/b.circuit.yaml", (repository.path / "circuits/a.circuit.yaml").read_text()
    )

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(
        ["*circuits/b.circuit.yaml:2:10: circuit 'a' already stands in circuits/a*"]
    )


def test_the_same_file_twice_is_one_circuit(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("circuits", "circuits/quote_close.circuit.yaml")

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_a_failing_ordinary_test_is_not_hidden_by_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("tests/test_other.py", "def test_other(): assert False\n")

    result = repository.gate("circuits", "tests")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["gate: PASS*"])


def test_a_path_that_goes_up_and_down_finds_the_same_files(repository: Repository) -> None:
    repository.write_good_spec()
    (repository.path / "other").mkdir()

    result = repository.gate("other/../circuits")

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_specifications_outside_the_root_folder_are_told_apart(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write_good_spec()
    root = repository.write("project/pytest.ini", "[pytest]\n").parent
    monkeypatch.chdir(root)

    result = repository.gate("--rootdir=.", "../circuits", "--circuits-report=out.json")

    assert result.ret == 0
    assert '"spec": "../circuits/quote_close.circuit.yaml"' in (root / "out.json").read_text()


def test_a_search_that_is_kept_from_running_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("conftest.py", "def pytest_pyfunc_call(pyfuncitem): return True\n")

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*the search for a counterexample did not run*", "gate: INCONCLUSIVE*"]
    )


def test_an_empty_run_cannot_be_turned_green_by_a_conftest(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "conftest.py",
        "def pytest_collection_modifyitems(items): del items[:]\n"
        "def pytest_sessionfinish(session):\n"
        "    session.exitstatus = 0 if session.exitstatus == 5 else session.exitstatus\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["3 claims did not run"])


def test_an_error_after_the_decision_is_no_pass_in_the_summary(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "conftest.py",
        "import pytest\n@pytest.hookimpl(wrapper=True)\n"
        "def pytest_runtest_call(item):\n    yield\n    raise RuntimeError('late')\n",
    )

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["error * behaves *", "*an error in its call*", "gate: FAIL*"])


def test_claims_that_were_named_are_a_part_and_no_verdict(
    repository: Repository, broken_folder: Path
) -> None:
    repository.write_good_spec()

    result = repository.gate(
        f"{ONE}::behaves",
        f"--circuits-model={broken_folder}",
        "--circuits-report=out.json",
        "--circuits-predicate=test.json",
        "--circuits-metrics=metrics.json",
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            (
                "gate: PASS OF A PART for * - no verdict: 1 claim about 1 circuit ran, and not "
                "quote_close (sufficient, necessary)"
            )
        ]
    )
    read = {n: json.loads((repository.path / f"{n}.json").read_text()) for n in ("out", "test")}
    assert read["out"]["verdict"] == "inconclusive"
    assert read["test"]["result"] == "FAILED"
    assert json.loads((repository.path / "metrics.json").read_text())["gate.passed"] == 0
