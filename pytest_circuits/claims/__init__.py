"""The claims about a circuit: how each is searched, measured and decided."""

from pytest_circuits.claims.acceptance import accepted_changes
from pytest_circuits.claims.baseline import (
    Live,
    Recorded,
    check_comparable,
    check_origin,
    facts,
    sample_of,
)
from pytest_circuits.claims.baseline_file import (
    baseline_path,
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Counterexample, Evidence, Law, Rate, Verdict
from pytest_circuits.claims.laws import LawBroken, finish, given_test, run_claim
from pytest_circuits.claims.making import make_bench
from pytest_circuits.claims.matched import against, find_again, readdressed
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.selfcheck import SELFCHECK, run_selfcheck

__all__ = [
    "CLAIMS",
    "SELFCHECK",
    "Bench",
    "Counterexample",
    "Evidence",
    "Law",
    "LawBroken",
    "Live",
    "Rate",
    "Recorded",
    "Verdict",
    "accepted_changes",
    "against",
    "baseline_path",
    "check_comparable",
    "check_origin",
    "declared",
    "facts",
    "find_again",
    "finish",
    "given_test",
    "make_bench",
    "read_baseline",
    "readdressed",
    "record_baseline",
    "run_claim",
    "run_selfcheck",
    "sample_of",
    "write_baseline",
]
