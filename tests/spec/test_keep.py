"""A prompt is kept in its file and nothing else there changes: layout, comments, line ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import load_spec
from pytest_circuits.spec.write import keep_prompt

BEFORE = """\
# a comment
version: 1
circuit: q   # another
model: ../model
behavior:
  prompt: "{name} = {cue}"
  slots:  {name:   {choice: [x, y]}}
  contrast: {cue: {"'": "'", '"': '"'}}
ablation: mean
claims: {behaves: {rate: 0.9}}
"""
PROMPT = "x = '"
LISTS = {
    "none": (
        "",
        'regressions:  # prompts that once broke a law; always tried first\n  - "x = \'"\n',
    ),
    "lines": (
        "regressions:\n  # why\n  - y = '  # of July\n\n# the end\n",
        "regressions:\n  # why\n  - y = '  # of July\n  - \"x = '\"\n\n# the end\n",
    ),
    "lines without an indent": (
        "regressions:\n- y = '\n- |-\n  x = \"\ndescription: last\n",
        'regressions:\n- y = \'\n- |-\n  x = "\n- "x = \'"\ndescription: last\n',
    ),
    "no newline at the end": (
        "regressions:\n - y = '",
        "regressions:\n - y = '\n - \"x = '\"\n",
    ),
    "an empty list": ("regressions: [ ]  # none\n", 'regressions: ["x = \'" ]  # none\n'),
    "brackets": (
        'regressions: ["y = \'",  # July\n  ]\n',
        'regressions: ["y = \'", "x = \'",  # July\n  ]\n',
    ),
}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Where a specification lies."""
    return tmp_path / "q.circuit.yaml"


@pytest.mark.parametrize(("before", "after"), LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "bom"])
def test_only_the_prompt_is_added(spec: Path, before: str, after: str, end: str, mark: str) -> None:
    old, new = (f"{mark}{BEFORE}{text}".replace("\n", end).encode() for text in (before, after))
    spec.write_bytes(old)

    assert keep_prompt(spec, PROMPT)

    assert spec.read_bytes() == new
    assert load_spec(spec).spec.regressions[-1] == PROMPT


def test_a_prompt_is_kept_once(spec: Path) -> None:
    spec.write_text(BEFORE)
    keep_prompt(spec, PROMPT)
    kept, written = spec.read_bytes(), spec.stat().st_mtime_ns

    assert not keep_prompt(spec, PROMPT)

    assert (spec.read_bytes(), spec.stat().st_mtime_ns) == (kept, written)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_text_can_be_kept(spec: Path, names: list[str]) -> None:
    spec.write_text(BEFORE)
    prompts = [f"{name} = '" for name in names]

    for prompt in prompts:
        keep_prompt(spec, prompt)

    assert load_spec(spec).spec.regressions == tuple(dict.fromkeys(prompts))
    assert spec.read_text().startswith(BEFORE)


def test_a_prompt_that_does_not_fit_is_refused_at_its_place(spec: Path) -> None:
    spec.write_text(BEFORE)

    with pytest.raises(SpecError, match=r"q\.circuit\.yaml:6:11: the prompt 'x: ' does not fit"):
        keep_prompt(spec, "x: ")

    assert spec.read_text() == BEFORE


def test_a_file_that_would_say_something_else_afterwards_is_left_alone(spec: Path) -> None:
    spec.write_text(f"{BEFORE}...\n")

    with pytest.raises(SpecError, match=r"cannot be put .* write it yourself: \"x = '\""):
        keep_prompt(spec, PROMPT)

    assert spec.read_text() == f"{BEFORE}...\n"
