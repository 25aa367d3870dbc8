from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_circuits.spec.bounded_yaml import parse_yaml
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.schema import json_schema

Load = Callable[[str], LoadedSpec]

EDGES = "1.attn.k -> 0.mlp.post_act: [[30, 31], [30, 406]]"


def errors(value: object) -> list[str]:
    schema: dict[str, Any] = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def test_the_committed_schema_is_the_one_that_the_types_give() -> None:
    committed = files("pytest_circuits.spec").joinpath("circuit.schema.json").read_text("utf-8")

    assert committed == json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    "more",
    ["", "edges: {}\n", f"edges: {{{EDGES}}}\n", "calibration: {scale: 1.7, shift: -0.3}\n"],
)
def test_the_schema_accepts_the_example(load: Load, quote: str, more: str) -> None:
    assert errors(load(quote + more).tree.value) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("  sufficient: {", "  sufficent:  {"),
        ("{rate: 0.99}", "{rate: '.nan'}"),
        ("{rate: 0.99}", "{rate: 1}"),
        ("{rate: 0.99}", "null"),
        ("version: 1", "version: 2"),
        ("circuit: quote_close", "circuit: a b"),
        ("ablation: mean", "ablation: men"),
        ("ablation: mean\n", ""),
        ("{choice: [alpha, beta, user_id]}", "{chioce: [alpha]}"),
        ("{choice: [alpha, beta, user_id]}", "{choice: [alpha], integer: [1, 2]}"),
        ("[alpha, beta, user_id]", "[alpha, alpha]"),
        ("    name:", "    a b:"),
        ("count: [1, 5]", "count: [1]"),
        ("from: [alpha", "from_: [alpha"),
        ("[31, 406]", "[31, -1]"),
        ("[31, 406]", "[31, 31]"),
        ("ablation:", "edges: null\nablation:"),
        ("ablation:", "edges: {1.attn.k->0.mlp.post_act: [[30, 31]]}\nablation:"),
        ("ablation:", "edges: {1.attn.k -> 0.mlp.post_act: [[30]]}\nablation:"),
        ("ablation:", "edges: {1.attn.k -> 0.mlp.post_act: [[30, 31, 1]]}\nablation:"),
        ("ablation:", "edges: {1.attn.k -> 0.mlp.post_act: [[30, 31], [30, 31]]}\nablation:"),
        ("ablation:", "edges: {1.attn.k -> 0.mlp.post_act: [[30, -1]]}\nablation:"),
        ("ablation:", "calibration: {scale: 0, shift: 0.5}\nablation:"),
        ("ablation:", "calibration: {scale: 10.5, shift: 0.5}\nablation:"),
        ("ablation:", "calibration: {scale: 2, shift: -21}\nablation:"),
        ("ablation:", "calibration: {scale: 2}\nablation:"),
        ("ablation:", "calibration: null\nablation:"),
        ("      '\"': '\"'\n", ""),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(
    first_lines: Callable[[str], list[str]], quote: str, good: str, bad: str
) -> None:
    text = quote.replace(good, bad, 1)

    assert first_lines(text)
    assert errors(parse_yaml(text, path=Path("q")).value)


def test_a_file_without_claims_is_refused_by_the_editor_too(load: Load, quote: str) -> None:
    value = load(quote).tree.value
    assert isinstance(value, dict)

    assert errors({**value, "claims": {}})
