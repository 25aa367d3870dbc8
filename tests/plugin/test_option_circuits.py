"""`--circuits`: what is collected, from where, and what the exit status says."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Repository


def test_claims_that_hold_end_with_status_0(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate()

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_a_claim_that_does_not_hold_ends_with_status_1(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate()

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)


def test_a_behavior_without_a_circuit_is_a_claim_about_the_whole_model(
    repository: Repository,
) -> None:
    text = repository.write_good_spec().read_text()
    start, _, rest = text.partition("nodes:\n")
    claims = rest.partition("claims:\n")[2].splitlines()
    kept = [line for line in claims if "behaves" in line or "protocol" in line]
    repository.write("circuits/good.circuit.yaml", "\n".join([start + "claims:", *kept, ""]))
    for path in (repository.pytester.path / "circuits").glob("*.circuit.yaml"):
        if path.name != "good.circuit.yaml":
            path.unlink()

    result = repository.gate()

    assert result.ret == 0
    result.assert_outcomes(passed=1)
    assert repository.gate("--circuits-update=new").ret == 0


def test_without_the_option_specifications_are_not_collected(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.run("circuits")

    assert result.ret == 5
    result.assert_outcomes()


def test_the_gate_runs_circuits_only_when_no_path_is_given(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("tests/test_other.py", "def test_other(): pass\n")

    result = repository.gate()

    result.assert_outcomes(passed=3)


def test_testpaths_cannot_hide_the_folder(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("tests/test_other.py", "def test_other(): pass\n")
    repository.write("pytest.ini", "[pytest]\ntestpaths = tests\n")

    result = repository.gate()

    result.assert_outcomes(passed=3)


def test_paths_on_the_command_line_are_what_is_run(repository: Repository) -> None:
    repository.write("here/one.circuit.yaml", repository.write_good_spec().read_text())
    repository.write("tests/test_other.py", "def test_other(): pass\n")

    result = repository.gate("here", "tests")

    assert result.ret == 0
    result.assert_outcomes(passed=4)


def test_the_ini_file_names_other_folders(repository: Repository) -> None:
    spec = repository.write_good_spec()
    repository.write(
        "gates/deep/one.circuit.yaml", spec.read_text().replace("../model", "../../model")
    )
    spec.unlink()
    repository.write("pytest.ini", "[pytest]\ncircuits_paths = gates\n")

    result = repository.gate()

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_the_gate_runs_from_a_folder_below_the_root(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write_good_spec()
    repository.write("pytest.ini", "[pytest]\n")
    below = repository.path / "below"
    below.mkdir()
    monkeypatch.chdir(below)

    result = repository.gate()

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_a_node_id_runs_one_claim(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("circuits/quote_close.circuit.yaml::quote_close::sufficient", "-v")

    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["circuits/quote_close.circuit.yaml::quote_close::sufficient PASSED*"]
    )


def test_a_circuit_id_runs_its_claims(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("circuits/quote_close.circuit.yaml::quote_close")

    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_autouse_fixtures_of_the_user_apply_to_claims(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef told(request):\n"
        "    print('around', request.node.name)\n    yield\n",
    )

    result = repository.gate("-s")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*around behaves*"])


def test_listing_claims_is_no_verdict_and_no_failure(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--collect-only", "-q")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["circuits/quote_close.circuit.yaml::quote_close::behaves"])
    result.stdout.no_fnmatch_line("gate: *")


def test_the_plugin_can_be_switched_off_by_name(repository: Repository) -> None:
    result = repository.pytester.runpytest_subprocess("-p", "no:circuits", "--circuits")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*unrecognized arguments: --circuits"])


def test_the_gate_cannot_be_blocked_and_asked_for(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("test_other.py", "def test_other(): pass\n")

    result = repository.pytester.runpytest_subprocess("--circuits", "-p", "no:circuits-gate")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *-p no:circuits-gate exclude each other*"])
