"""Nodes at places in a specification: what may be named, and what is said where that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_circuits.spec.load import LoadedSpec, parse_spec
from pytest_circuits.spec.places import divide, undivide
from pytest_circuits.spec.write import dump_spec

FirstLines = Callable[[str], list[str]]
NODES = "nodes:\n  0.mlp.post_act: [31, 406]\n  1.attn.k: [30]\n"
TWO = '"{name} = {quote}{words}"'


def placed(quote: str, *lines: str) -> str:
    return quote.replace(NODES, "nodes:\n" + "".join(f"  {line}\n" for line in lines))


def test_nodes_count_at_roles_of_the_template(
    quote: str, load: Callable[[str], LoadedSpec]
) -> None:
    lines = [f"0.mlp.post_act at {role}: [{i}]" for i, role in enumerate(("cue", "last", "text"))]
    loaded = load(placed(quote, *lines, "0.mlp.post_act at words: [3]", "1.attn.k: [30]"))

    assert loaded.spec.nodes["0.mlp.post_act at words"] == (3,)
    again = parse_spec(dump_spec(loaded.spec), path=Path("q.circuit.yaml"))
    assert again.spec == loaded.spec
    assert again.digest == loaded.digest
    elsewhere = load(placed(quote, *lines, "0.mlp.post_act at name: [3]", "1.attn.k: [30]"))
    assert elsewhere.digest != loaded.digest


@pytest.mark.parametrize(
    ("nodes", "line"),
    [
        (
            "0.mlp.post_act at word: [31]",
            "17:3: the prompt has no 'word', at which a node could count; did you mean 'words'?",
        ),
        (
            "0.mlp.post_act at bos: [31]",
            (
                "17:3: the prompt has no 'bos', at which a node could count; known: cue, "
                "last, text, name, words"
            ),
        ),
        ("0.mlp.post_act at quote: [31]", "17:3: 'quote' is the cue; write 'at cue'"),
        (
            "0.mlp.post_act elsewhere: [31]",
            (
                "17:3: '0.mlp.post_act elsewhere' is no place; '0.mlp.post_act at ROLE' is one, or "
                "'0.mlp.post_act' for all tokens"
            ),
        ),
        (
            "0.mlp.post_act at elsewhere: [31]",
            (
                "17:3: the prompt has no 'elsewhere', at which a node could count; known: cue, "
                "last, text, name, words"
            ),
        ),
        (
            "0.mlp.post_act at cue: [31]\n  0.mlp.post_act: [406, 31]",
            "17:27: node 31 of '0.mlp.post_act' counts at all tokens already; keep one of the two",
        ),
        (
            "0.mlp.post_act at cue: [31]\nedges: {}",
            (
                "18:1: edges carry all tokens alike, and nodes such as '0.mlp.post_act at cue' do "
                "not; leave 'edges' out, or the places of the nodes"
            ),
        ),
        (
            (
                "0.mlp.post_act at cue: [31]\ndisambiguate:\n"
                '  - {prompt: "alpha is \'a", between: ["\'", \'"\']}'
            ),
            (
                "19:14: 'alpha is 'a' does not fit the prompt: where is '0.mlp.post_act at cue'?; "
                "prompts look like '{name} = {quote}{words}'"
            ),
        ),
    ],
)
def test_a_place_that_is_none_is_refused(
    quote: str, first_lines: FirstLines, nodes: str, line: str
) -> None:
    assert first_lines(placed(quote, nodes)) == [f"q.circuit.yaml:{line}"]


def test_a_search_is_not_asked_for_where_nodes_have_places(
    quote: str, first_lines: FirstLines
) -> None:
    text = placed(quote, "0.mlp.post_act at cue: [31]")
    stable = "stable:     {max_drop: 0.02, structure: {seeds: 3}}"

    assert first_lines(text.replace("stable:     {max_drop: 0.02}", stable)) == [
        (
            "q.circuit.yaml:22:32: a search finds nodes that count at all tokens, unlike "
            "'0.mlp.post_act at cue'; leave 'structure' out"
        )
    ]


def test_a_slot_that_one_template_lacks_is_no_place(quote: str, first_lines: FirstLines) -> None:
    text = placed(quote, "0.mlp.post_act at name: [31]")

    assert first_lines(text.replace(TWO, f'[{TWO}, "{{words}} = {{quote}}a"]')) == [
        (
            "q.circuit.yaml:17:3: template '2' has no slot 'name', at which a node could count; "
            "name slots that every template has"
        )
    ]


def test_a_slot_with_the_name_of_a_role_is_not_clear(quote: str, first_lines: FirstLines) -> None:
    text = placed(quote, "0.mlp.post_act at last: [31]").replace("{words}", "{last}")

    assert first_lines(text.replace("    words:", "    last: ")) == [
        (
            "q.circuit.yaml:17:3: 'last' is the last token, and a slot as well; give the slot "
            "another name"
        )
    ]


def test_of_places_nothing_is_said_where_the_behavior_is_broken(
    quote: str, first_lines: FirstLines
) -> None:
    text = placed(quote, "0.mlp.post_act at words: [31]")

    (line,) = first_lines(text.replace("  prompt:", "  promt:"))
    assert "unknown key 'promt'" in line


def test_nodes_are_divided_and_found_again() -> None:
    nodes = {"a": (1, 2), "b": (4,), "a at cue": (3,), "a at last": (5,)}

    found = divide(nodes)

    assert {name: set(some) for name, some in found.items()} == {
        "a at cue": {1, 2, 3},
        "a at last": {1, 2, 5},
        "a elsewhere": {1, 2},
        "b": {4},
    }
    assert undivide(found) == nodes
    assert undivide({"a": (1, 2)}) == {"a": (1, 2)}
