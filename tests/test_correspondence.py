"""Which token of a prompt corresponds to which of its partner."""

from __future__ import annotations

import pytest

from pytest_circuits.prompts.correspondence import correspondence


@pytest.mark.parametrize(
    ("tokens", "partner", "expected"),
    [
        pytest.param([1, 2, 3], [1, 9, 3], (0, 1, 2), id="as many tokens"),
        pytest.param([1, 9, 2, 9], [1, 8, 2, 7], (0, 1, 2, 3), id="the cue stands twice"),
        pytest.param([1, 5, 3, 4], [1, 6, 7, 3, 4], (0, 2, 3, 4), id="its last token"),
        pytest.param([1, 6, 7, 3, 4], [1, 5, 3, 4], (0, 1, 1, 2, 3), id="the longer cue"),
        pytest.param([5], [6, 7], (1,), id="nothing but the cue"),
        pytest.param([1, 2, 3], [1, 2, 2, 3], None, id="an insertion"),
        pytest.param([1, 2, 2, 3], [1, 2, 3], None, id="a deletion"),
    ],
)
def test_tokens_correspond(
    tokens: list[int], partner: list[int], expected: tuple[int, ...] | None
) -> None:
    assert correspondence(tokens, partner) == expected
