"""The names that the package offers to other code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pytest_circuits
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier


@pytest.mark.parametrize("name", pytest_circuits.__all__)
def test_each_public_name_is_there_and_knows_its_own_name(name: str) -> None:
    assert getattr(pytest_circuits, name).__name__ == name
    assert name in dir(pytest_circuits)


def test_a_claim_is_decided_by_public_names_alone(tmp_path: Path) -> None:
    write_quote_copier(tmp_path / "model")
    (tmp_path / "quote.circuit.yaml").write_text(quote_spec(QUOTE_PATH))

    loaded = pytest_circuits.load_spec(tmp_path / "quote.circuit.yaml")
    model = pytest_circuits.load_model(loaded.model_path)
    evidence = pytest_circuits.run_claim(pytest_circuits.make_bench(loaded, model), "sufficient")

    assert evidence.verdict is pytest_circuits.Verdict.PASS


def test_a_name_that_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Clam'"):
        _ = pytest_circuits.Clam


def test_the_package_loads_nothing_before_a_name_is_used() -> None:
    script = "import sys, pytest_circuits; print(*{'torch', 'pytest', 'pydantic'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")
