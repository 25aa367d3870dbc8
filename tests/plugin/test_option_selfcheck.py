"""`--circuits-selfcheck`: one item more per circuit, and every other verdict stays as it is."""

from __future__ import annotations

import json

import pytest

from tests.plugin.conftest import Repository


def test_the_selfcheck_is_an_item_of_its_own(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--circuits-selfcheck", "2", "-v")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "  selfcheck  2 seeds",
            "circuits/quote_close.circuit.yaml::quote_close::selfcheck PASSED*",
            "pass     quote_close  selfcheck *-",
            "*model against itself is green under 2 seeds; a shuffled circuit is red under 2 seeds",
            "partial  quote_close  3 claims hold by proof, under mean; *",
        ]
    )


def test_the_other_claims_give_the_same_evidence_with_and_without(repository: Repository) -> None:
    repository.write_good_spec()
    repository.gate("--circuits-report=without.json")

    repository.gate("--circuits-report=with.json", "--circuits-selfcheck=2")

    (without,), (with_it,) = (
        json.loads((repository.path / name).read_text())["circuits"]
        for name in ("without.json", "with.json")
    )
    assert [claim["claim"] for claim in with_it["claims"]][-1] == "selfcheck"
    assert with_it["claims"][:-1] == without["claims"]
    assert with_it["grade"] == without["grade"]


def test_claims_that_random_nodes_pass_fail_the_gate(repository: Repository) -> None:
    repository.write_good_spec(claims=("behaves",))

    result = repository.gate("--circuits-selfcheck=2")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "quote_close: selfcheck: fail  (circuits/quote_close.circuit.yaml:*)",
            "*cannot tell the circuit from random nodes",
            "*reproduce pytest --circuits --circuits-selfcheck=2 *::quote_close::selfcheck",
        ]
    )


@pytest.mark.parametrize("number", ["0", "-1", "many", "1001", "9" * 5000, ""])
def test_a_number_that_is_none_is_a_usage_error(repository: Repository, number: str) -> None:
    repository.write_good_spec()

    result = repository.gate(f"--circuits-selfcheck={number}")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --circuits-selfcheck*"])


def test_without_the_gate_it_is_refused(repository: Repository) -> None:
    result = repository.run("--circuits-selfcheck=2")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--circuits-selfcheck does nothing without --circuits*"])
