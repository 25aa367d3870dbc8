"""`--circuits-metrics`: one flat object of finite numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pytest_circuits.report.metrics import metrics
from tests.plugin.conftest import Repository
from tests.plugin.test_summary import BEHAVES, GOOD


def test_every_number_of_a_run_has_a_name(repository: Repository) -> None:
    repository.write_bad_spec()

    result = repository.gate("--circuits-metrics", "out/metrics.json")

    assert result.ret == 1
    found = json.loads((repository.path / "out/metrics.json").read_text())
    assert found["gate.passed"] == 0
    assert (found["gate.claims"], found["gate.claims_passed"]) == (2, 1)
    assert found["weak_path.nodes"] > 0
    sufficient = {
        name.removeprefix("weak_path.sufficient."): value
        for name, value in found.items()
        if name.startswith("weak_path.sufficient.")
    }
    assert {name: sufficient[name] for name in ("ci_high", "ci_low", "estimate", "n")} == {
        "ci_high": 0.5,
        "ci_low": 0.5,
        "estimate": 0.5,
        "n": 32,
    }
    assert (sufficient["passed"], sufficient["threshold"]) == (0, 0.95)
    assert sufficient["task_loss"] > 5
    assert all(type(value) in {int, float} for value in found.values())
    assert list(found) == sorted(found)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_number_that_is_none_is_left_out(value: float | None) -> None:
    evidence = replace(BEHAVES.evidence, measures={"task_loss": value})

    found = metrics(replace(GOOD, results=(replace(BEHAVES, evidence=evidence),)))

    assert "quote_close.behaves.task_loss" not in found
    assert found["quote_close.behaves.ci_low"] == 0.981
