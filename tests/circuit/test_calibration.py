"""The fit of a calibration, on margins whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_circuits.circuit.calibration import calibrated, fit
from pytest_circuits.spec.types import Calibration

WHOLE = np.random.default_rng(1).uniform(1, 4, (200, 2))  # margins: both members prefer rightly


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (4.0, -0.3), (0.5, 1.5)])
def test_the_fit_finds_what_was_done_to_the_whole_models_preference(
    scale: float, shift: float
) -> None:
    alone = WHOLE / scale - shift * np.array([1, -1])
    found = fit(alone, WHOLE)
    assert found is not None
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert found.shift == pytest.approx(shift, abs=0.02)
    np.testing.assert_allclose(calibrated(alone, found), WHOLE, atol=0.1)


def test_a_circuit_is_made_as_sure_as_the_model_and_not_as_sure_as_can_be() -> None:
    alone = np.full((50, 2), 0.8)  # right at every prompt: against labels, no scale is too large
    found = fit(alone, np.full((50, 2), 2.0))
    assert found is not None
    assert found.scale == pytest.approx(2.5, rel=0.01)


def test_a_fit_stays_within_what_a_specification_may_say() -> None:
    found = fit(WHOLE / 1000, WHOLE)
    assert found is not None
    assert found.scale == 10
    assert fit(WHOLE / 4 + np.array([30, -30]), WHOLE) is None


def test_nothing_calibrates_what_tells_nothing_apart() -> None:
    constant = np.tile([3.0, -3.0], (50, 1))
    for alone in (-WHOLE, np.full((50, 2), np.nan), np.full((50, 2), np.inf)):
        assert fit(alone, WHOLE[: len(alone)]) is None
    assert fit(WHOLE, np.full(WHOLE.shape, np.nan)) is None
    for calibration in (fit(constant, WHOLE[:50]), Calibration(scale=10, shift=20)):
        margins = calibrated(constant, calibration)
        assert np.logaddexp(0, -margins).mean() >= np.log(2) - 1e-9
