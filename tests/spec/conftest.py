"""One good specification, and the visible problems of a bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, parse_spec

QUOTE = """\
# The example of the README.
version: 1
circuit: quote_close
description: A string is closed by the quote that opened it.
model: ../models/tinypython
behavior:
  prompt: "{name} = {quote}{words}"
  slots:
    name:  {choice: [alpha, beta, user_id]}
    words: {words: {from: [alpha, beta, gamma], count: [1, 5]}}
  contrast:
    quote:
      "'": "'"
      '"': '"'
ablation: mean
nodes:
  0.mlp.post_act: [31, 406]
  1.attn.k: [30]
claims:
  behaves:    {rate: 0.99}
  sufficient: {rate: 0.98, max_loss: 0.15}
  necessary:  {max_rate: 0.60}
  stable:     {max_drop: 0.02}
regressions:
  - "x = 'a"
"""


@pytest.fixture(scope="session")
def quote() -> str:
    return QUOTE


@pytest.fixture(scope="session")
def load() -> Callable[[str], LoadedSpec]:
    return lambda text: parse_spec(text, path=Path("q.circuit.yaml"))


@pytest.fixture(scope="session")
def first_lines(load: Callable[[str], LoadedSpec]) -> Callable[[str], list[str]]:
    """The first visible line of each problem of a text, in the order of the message."""

    def read(text: str) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(text)
        assert "\n".join(map(str, caught.value.problems)) == str(caught.value)
        return [str(problem).splitlines()[0] for problem in caught.value.problems]

    return read
