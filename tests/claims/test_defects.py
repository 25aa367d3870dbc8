"""The defect matrix: each planted defect is caught by the claim that is named for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS, declared
from tests.known_models.defects import DEFECTS, TRUE_CIRCUITS, Row
from tests.known_models.workshop import Workshop

SEED = 1
DOCS = Path(__file__).parents[1] / "benchmarks" / "defects.md"
# Of the true circuits these two stand for all: test_known_models.py has the core claims of others.
TRUE = [row for row in TRUE_CIRCUITS if row.name in {"quotes", "quotes, blind to the name"}]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("planted"), SEED)


@pytest.mark.parametrize("row", DEFECTS, ids=lambda row: row.name)
def test_a_planted_defect_is_caught_by_the_claim_that_is_named_for_it(
    shop: Workshop, row: Row
) -> None:
    bench = row.plant(shop)

    assert row.claim in declared(bench.spec)
    assert run_claim(bench, row.claim).verdict is Verdict.FAIL


@pytest.mark.parametrize("row", TRUE, ids=lambda row: row.name)
def test_a_true_circuit_passes_every_claim(shop: Workshop, row: Row) -> None:
    bench = row.plant(shop)

    found = {claim: run_claim(bench, claim) for claim in declared(bench.spec)}

    assert [e.reason for e in found.values() if e.verdict is not Verdict.PASS] == []


def test_every_claim_has_a_defect_that_it_is_named_for() -> None:
    assert {row.claim for row in DEFECTS} == set(CLAIMS)


def test_the_table_lists_every_row() -> None:
    rows = re.findall(r"^\| (\w[^|]*?) +\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [row.name for row in (*DEFECTS, *TRUE_CIRCUITS)]
