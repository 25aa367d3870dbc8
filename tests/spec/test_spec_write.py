from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import dump_spec, write_spec
from pytest_circuits.spec.yaml_text import scalar_text

Load = Callable[[str], LoadedSpec]


def test_a_specification_is_written_as_a_person_would_write_it(load: Load, quote: str) -> None:
    nodes = ", ".join(str(index) for index in range(100, 140))
    pairs = ", ".join(f"[30, {index}]" for index in range(110, 100, -1))
    loaded = load(
        quote.replace("[31, 406]", f"[{nodes}]").replace(
            "ablation: mean",
            f"ablation: mean\nedges: {{1.attn.k -> 0.mlp.post_act: [{pairs}]}}\n"
            "calibration: {shift: -0.3, scale: 1.7}\n"
            "protocol: {margin: 0.5}\nfound_by: {seed: 7, lr: 1e-5}",
        )
    )

    text = dump_spec(loaded.spec, header="Found by a pruner.\nReview the nodes.")

    assert (
        text
        == """\
# Found by a pruner.
# Review the nodes.
version: 1
circuit: quote_close
description: A string is closed by the quote that opened it.
model: ../models/tinypython
behavior:
  prompt: "{name} = {quote}{words}"
  slots:
    name: {choice: [alpha, beta, user_id]}
    words:
      words:
        from: [alpha, beta, gamma]
        count: [1, 5]
  contrast:
    quote:  # cue: answer; the other cue's answer is the foil
      "'": "'"
      '"': '"'
ablation: mean
nodes:
  0.mlp.post_act: [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115,
    116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134,
    135, 136, 137, 138, 139]
  1.attn.k: [30]
edges:
  1.attn.k -> 0.mlp.post_act: [[30, 110], [30, 109], [30, 108], [30, 107], [30, 106], [30, 105],
    [30, 104], [30, 103], [30, 102], [30, 101]]
calibration: {scale: 1.7, shift: -0.3}
claims:
  behaves:    {rate: 0.99}
  sufficient: {rate: 0.98, max_loss: 0.15}
  necessary:  {max_rate: 0.6}
  stable:     {max_drop: 0.02}
protocol: {margin: 0.5}
regressions:  # prompts that once broke a law; always tried first
  - "x = 'a"
found_by:
  seed: 7
  lr: 1.0e-05
"""
    )
    assert load(text).spec == loaded.spec
    assert max(map(len, text.splitlines())) <= 100


def test_a_circuit_without_any_edge_is_written_as_such(load: Load, quote: str) -> None:
    spec = load(quote).spec.model_copy(update={"edges": {}})

    assert "\nedges: {}\n" in dump_spec(spec)
    assert load(dump_spec(spec)).spec == spec
    assert "edges" not in dump_spec(load(quote).spec)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("alpha", "alpha"),
        ("../models/x", "../models/x"),
        ("0.mlp.post_act", "0.mlp.post_act"),
        ("two words", "two words"),
        ("0.attn.v -> 0.attn.resid_delta", "0.attn.v -> 0.attn.resid_delta"),
        ("a ->", '"a ->"'),
        ("-> a", '"-> a"'),
        ("no", '"no"'),
        ("1", '"1"'),
        ("1e3", '"1e3"'),
        ("0x1F", '"0x1F"'),
        ("12:30", '"12:30"'),
        ("2020-01-01", '"2020-01-01"'),
        ("null", '"null"'),
        ("", '""'),
        (" a", '" a"'),
        ("a ", '"a "'),
        ("a: b", '"a: b"'),
        ("it's", '"it\'s"'),
        ('say "x"', "'say \"x\"'"),
        ("a\nb\t\\", '"a\\nb\\t\\\\"'),
        ("\x1b\x85\u202e\U000e0041", '"\\x1b\\x85\\u202e\\U000e0041"'),
        (1e-05, "1.0e-05"),
        (0.5, "0.5"),
        (3, "3"),
        (True, "true"),
    ],
)
def test_scalars_are_quoted_only_where_a_reader_could_go_wrong(
    value: str | float, written: str
) -> None:
    assert scalar_text(value) == written


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_every_yaml_reader_reads_a_written_scalar_as_it_was(value: str | float) -> None:
    assert yaml.safe_load(f"[{scalar_text(value)}]") == [value]
    assert yaml.safe_load(f"{scalar_text(str(value))}: 1") == {str(value): 1}


def test_infinity_is_never_written() -> None:
    with pytest.raises(ValueError, match="inf cannot be written"):
        scalar_text(float("inf"))


def test_a_header_cannot_break_out_of_its_comment(load: Load, quote: str) -> None:
    text = dump_spec(load(quote).spec, header="by \x85 version: 2\u2028version: 3\rversion: 4")

    assert load(text).spec == load(quote).spec


def test_a_written_file_loads_as_the_same_specification(
    tmp_path: Path, load: Load, quote: str
) -> None:
    path = tmp_path / "q.circuit.yaml"
    path.write_text("old", encoding="utf-8")

    write_spec(load(quote).spec, path=path, header="new")

    assert load_spec(path).spec == load(quote).spec
    assert list(tmp_path.iterdir()) == [path]


def test_what_could_not_be_loaded_again_is_not_written(
    tmp_path: Path, load: Load, quote: str
) -> None:
    path = tmp_path / "q.circuit.yaml"
    path.write_text("old", encoding="utf-8")
    spec: Spec = load(quote).spec.model_copy(update={"model": "/absolute"})

    with pytest.raises(SpecError, match="the model path is absolute"):
        write_spec(spec, path=path)

    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_said_to_be_so(
    tmp_path: Path, load: Load, quote: str
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SpecError, match=r"q\.circuit\.yaml: cannot be written: "):
        write_spec(load(quote).spec, path=tmp_path / "file" / "q.circuit.yaml")
