"""The defect matrix: each planted defect is caught by the claim that is named for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS, declared
from tests.known_models.defects import DEFECTS, TRUE_CIRCUITS
from tests.known_models.rows import Row
from tests.known_models.workshop import Workshop

SEED = 1
LONG = {"superset: half of the model besides"}  # the benchmark has it, and one like it is here
DOCS = Path(__file__).parents[1] / "benchmarks" / "defects.md"
# Of the true circuits these two stand for all: test_known_models.py has the core claims of others.
TRUE = [row for row in TRUE_CIRCUITS if row.name in {"quotes", "quotes, blind to the name"}]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("planted"), SEED)


@pytest.mark.parametrize(
    "row",
    [row for row in DEFECTS if row.claim and row.name not in LONG],
    ids=lambda row: row.name,
)
def test_a_planted_defect_is_caught_by_the_claim_that_is_named_for_it(
    shop: Workshop, row: Row
) -> None:
    bench = row.plant(shop)

    assert row.claim in declared(bench.spec)
    assert run_claim(bench, row.claim).verdict is Verdict.FAIL


@pytest.mark.parametrize("row", TRUE, ids=lambda row: row.name)
def test_a_true_circuit_passes_every_claim(shop: Workshop, row: Row) -> None:
    assert _not_passed(row.plant(shop)) == []


@pytest.mark.parametrize("row", [row for row in DEFECTS if row.missed], ids=lambda row: row.name)
def test_a_defect_of_which_it_is_said_that_no_claim_sees_it_passes_them_all(
    shop: Workshop, row: Row
) -> None:
    assert _not_passed(row.plant(shop)) == []


def _not_passed(bench: Bench) -> list[str]:
    found = (run_claim(bench, claim) for claim in declared(bench.spec))
    return [evidence.reason for evidence in found if evidence.verdict is not Verdict.PASS]


def test_every_claim_has_a_defect_that_it_is_named_for() -> None:
    assert {row.claim for row in DEFECTS if not row.missed} == set(CLAIMS)


def test_the_table_lists_every_row() -> None:
    rows = re.findall(r"^\| (\w[^|]*?) +\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [row.name for row in (*DEFECTS, *TRUE_CIRCUITS)]
