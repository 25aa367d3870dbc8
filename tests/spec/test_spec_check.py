from __future__ import annotations

from collections.abc import Callable

import pytest

FirstLines = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        pytest.param(
            "{name} = {quote}",
            "{nam} {name} = {quote}",
            "7:11: the prompt names a slot 'nam' that is not declared; did you mean 'name'?",
            id="unknown slot",
        ),
        pytest.param(
            "{name} = {quote}",
            "x = {quote}",
            "9:5: slot 'name' is never used; put '{name}' into the prompt or remove the slot",
            id="slot never used",
        ),
        pytest.param(
            "{name} = {quote}",
            "{name} = ",
            "12:5: a contrast that changes nothing: the cue 'quote' is not in the prompt; "
            "put '{quote}' into the prompt",
            id="cue not in the prompt",
        ),
        pytest.param(
            "{name} = {quote}",
            "{name} = { {quote}",
            "7:11: the '{' at character 10 of the prompt has no partner; write '{{' for a brace",
            id="open brace",
        ),
        pytest.param(
            "{name} = {quote}",
            "{name} = } {quote}",
            "7:11: the '}' at character 10 of the prompt has no partner; write '}}' for a brace",
            id="closing brace",
        ),
        pytest.param(
            "{name} = {quote}",
            "{name} = {} {quote}",
            "7:11: the prompt names a slot '' that is not declared; known: name, words, quote",
            id="empty braces",
        ),
        pytest.param(
            "'\"': '\"'",
            "'\"': \"'\"",
            "12:5: a contrast that changes nothing: both cues have the answer '''; "
            "give each cue its own answer",
            id="equal answers",
        ),
        pytest.param(
            "    name:  {",
            "    quote: {choice: [a]}\n    name:  {",
            "13:5: 'quote' is both the cue and a slot; give the slot or the cue another name",
            id="cue is a slot",
        ),
        pytest.param(
            "count: [1, 5]",
            "count: [5, 1]",
            "10:56: the bounds are reversed: 5 is more than 1; write [1, 5]",
            id="count reversed",
        ),
        pytest.param(
            "{choice: [alpha, beta, user_id]}",
            "{integer: [9, 3]}",
            "9:22: the bounds are reversed: 9 is more than 3; write [3, 9]",
            id="integer reversed",
        ),
        pytest.param(
            "[alpha, beta, user_id]",
            "[alpha, beta, alpha]",
            "9:35: text 'alpha' is listed twice; keep one",
            id="choice twice",
        ),
        pytest.param(
            "from: [alpha, beta, gamma]",
            "from: [alpha, alpha]",
            "10:35: word 'alpha' is listed twice; keep one",
            id="word twice",
        ),
        pytest.param(
            "[31, 406]",
            "[31, 406, 31]",
            "17:29: node 31 is listed twice; keep one",
            id="node twice",
        ),
        pytest.param(
            "[31, 406]",
            "[]",
            "17:3: hook point '0.mlp.post_act' has an empty list of nodes; remove the line",
            id="no nodes",
        ),
        pytest.param(
            "x = 'a",
            "x : 'a",
            "25:5: the regression 'x : 'a' does not fit the prompt; "
            "prompts look like '{name} = {quote}{words}'",
            id="regression of another prompt",
        ),
        pytest.param(
            "x = 'a",
            "x = a",
            "25:5: the regression 'x = a' does not fit the prompt; "
            "prompts look like '{name} = {quote}{words}'",
            id="regression without a cue",
        ),
        pytest.param(
            "alpha, beta, gamma",
            "a" * 4000,
            "7:11: prompts can be 20,016 characters long; at most 16,384 are allowed",
            id="prompts without end",
        ),
    ],
)
def test_what_makes_no_sense_is_named_at_its_place(
    first_lines: FirstLines, quote: str, good: str, bad: str, line: str
) -> None:
    assert quote.count(good) >= 1

    assert first_lines(quote.replace(good, bad, 1)) == [f"q.circuit.yaml:{line}"]


def test_a_contrast_of_equal_cues_is_refused(first_lines: FirstLines, quote: str) -> None:
    bad = quote.replace("      '\"':", '      "\'":')

    assert first_lines(bad) == [
        (
            "q.circuit.yaml:13:7: the contrast of cue 'quote' must be a mapping of 2 to 16 "
            "keys, not of 1"
        ),
        "q.circuit.yaml:14:7: duplicate key ''': first given on line 13; keep one",
    ]


def test_a_specification_without_claims_is_refused(first_lines: FirstLines, quote: str) -> None:
    head, _, _ = quote.partition("claims:")

    assert first_lines(f"{head}claims: {{}}") == [
        "q.circuit.yaml:19:9: no claims: nothing would be tested; add 'behaves: {rate: 0.99}'"
    ]


def test_a_prompt_with_too_many_places_is_refused_without_a_search(
    first_lines: FirstLines, quote: str
) -> None:
    bad = quote.replace("{name} = ", "{name}" * 500)

    assert first_lines(bad) == ["q.circuit.yaml:7:11: the prompt has more than 64 places to fill"]


def test_broken_parts_do_not_hide_problems_of_the_others(
    first_lines: FirstLines, quote: str
) -> None:
    bad = quote.replace("prompt:", "promt:").replace("[31, 406]", "[31, 31]")

    assert first_lines(bad) == [
        "q.circuit.yaml:7:3: unknown key 'promt' in behavior; did you mean 'prompt'?",
        "q.circuit.yaml:17:24: node 31 is listed twice; keep one",
    ]


KEY = "1.attn.k -> 0.mlp.post_act"
TWO = "must be a list of two whole numbers, [source channel, target channel], not"
WRONG = "names no edges: their key is 'SOURCE -> TARGET', two hook points"
STRANGE = "is not a node of the circuit; add it to 'nodes' or remove the edge"
AN_EDGE = "an edge is [source channel, target channel]"


@pytest.mark.parametrize(
    ("edges", "lines"),
    [
        pytest.param(
            "1.attn.k->0.mlp.post_act: [[30, 31]]",
            [f"20:3: '1.attn.k->0.mlp.post_act' {WRONG}; did you mean '{KEY}'?"],
            id="arrow without spaces",
        ),
        pytest.param(
            "1.attn.k: [[30, 31]]",
            [f"20:3: '1.attn.k' {WRONG}; as in '0.mlp.act_in -> 0.mlp.post_act'"],
            id="one hook point",
        ),
        pytest.param(
            "1.atn.k -> 0.mlp.post_act: [[30, 31]]",
            ["20:3: hook point '1.atn.k' has no nodes; did you mean '1.attn.k'?"],
            id="misspelt hook point",
        ),
        pytest.param(
            "final_resid -> 0.mlp.post_act: [[30, 31]]",
            ["20:3: hook point 'final_resid' has no nodes; an edge joins two nodes of the circuit"],
            id="hook point without nodes",
        ),
        pytest.param(
            f"{KEY}: []",
            [f"20:3: '{KEY}' has an empty list of edges; remove the line"],
            id="no edges",
        ),
        pytest.param(
            f"{KEY}:",
            [f"20:3: '{KEY}' of edges has no value; it must be a list of pairs"],
            id="no list",
        ),
        pytest.param(
            f"{KEY}: [[30, 31], [30, 406], [30, 31]]",
            ["20:53: edge [30, 31] is listed twice; keep one"],
            id="edge twice",
        ),
        pytest.param(
            f"{KEY}: [[29, 32]]",
            [f"20:33: 1.attn.k[29] {STRANGE}", f"20:37: 0.mlp.post_act[32] {STRANGE}"],
            id="not nodes",
        ),
        pytest.param(
            f"{KEY}: [[30, 31], [406, 30]]",
            [f"20:42: edge [406, 30] is the wrong way round; {AN_EDGE}: write [30, 406]"],
            id="wrong way round",
        ),
        pytest.param(
            f"{KEY}: [30, [30]]",
            [
                f"20:32: edge 1 of '{KEY}' {TWO} the number 30",
                f"20:36: edge 2 of '{KEY}' {TWO} of 1",
            ],
            id="not pairs",
        ),
    ],
)
def test_edges_that_make_no_sense_are_named_at_their_place(
    first_lines: FirstLines, quote: str, edges: str, lines: list[str]
) -> None:
    bad = quote.replace("claims:", f"edges:\n  {edges}\nclaims:", 1)

    assert first_lines(bad) == [f"q.circuit.yaml:{line}" for line in lines]


def test_edges_are_not_held_against_nodes_that_are_broken(
    first_lines: FirstLines, quote: str
) -> None:
    bad = quote.replace("[31, 406]", "[31, x]").replace(
        "claims:", f"edges:\n  {KEY}: [[30, 406]]\nclaims:", 1
    )

    (line,) = first_lines(bad)
    assert line.startswith("q.circuit.yaml:17:24: node 2 of hook point '0.mlp.post_act' must be")


@pytest.mark.parametrize(
    ("calibration", "line"),
    [
        (
            "{scale: 0, shift: 0}",
            "15:22: 'scale' of calibration must be a number above 0 and at most 10",
        ),
        (
            "{scale: -1.5, shift: 0}",
            "15:22: 'scale' of calibration must be a number above 0 and at most 10",
        ),
        (
            "{scale: 1.0e+9, shift: 0}",
            "15:22: 'scale' of calibration must be a number above 0 and at most 10",
        ),
        (
            "{scale: .nan, shift: 0}",
            "15:22: 'scale' of calibration must be a number above 0 and at most 10",
        ),
        (
            "{scale: 2, shift: .inf}",
            "15:32: 'shift' of calibration must be a number from -20 to 20",
        ),
        (
            "{scale: 2, shift: 1.0e+9}",
            "15:32: 'shift' of calibration must be a number from -20 to 20",
        ),
        ("{scale: 2, shift: '1'}", "15:32: 'shift' of calibration must be a number from -20 to 20"),
        (
            "{scale: 2}",
            "15:1: 'shift' is missing in calibration; it must be a number from -20 to 20",
        ),
        ("{scale: 2, shift: 1, skale: 1}", "15:35: unknown key 'skale' in calibration"),
        ("2", "15:14: 'calibration' must be a mapping with the keys scale, shift"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_named_at_its_place(
    first_lines: FirstLines, quote: str, calibration: str, line: str
) -> None:
    bad = quote.replace("ablation:", f"calibration: {calibration}\nablation:", 1)

    (found,) = first_lines(bad)

    assert found.startswith(f"q.circuit.yaml:{line}")


@pytest.mark.parametrize(
    ("claims", "lines"),
    [
        pytest.param(
            "blind: {slots: [nam], rate: 0.9}",
            ["20:19: there is no slot 'nam'; did you mean 'name'?"],
            id="misspelt",
        ),
        pytest.param(
            "blind: {slots: [quote], rate: 0.9}",
            [
                (
                    "20:19: 'quote' is the cue, which decides the answer; "
                    "name it under 'depends_on' or not at all"
                )
            ],
            id="cue",
        ),
        pytest.param(
            "depends_on: {slots: [quote, x], rate: 0.9}",
            ["20:31: there is no slot 'x'; known: name, words, quote"],
            id="unknown",
        ),
        pytest.param(
            "blind: {slots: [name, name], rate: 0.9}",
            ["20:25: slot 'name' is listed twice; keep one"],
            id="twice",
        ),
        pytest.param(
            "blind: {slots: [name], rate: 0.9}\n  depends_on: {slots: [name], rate: 0.9}",
            [
                (
                    "21:24: the preference cannot both be blind to 'name' and depend on it; "
                    "keep one of the two"
                )
            ],
            id="both",
        ),
        pytest.param(
            "blind: {slots: [], rate: 0.9}",
            ["20:18: 'slots' of claim 'blind' must be a list of 1 to 32 texts, not of 0"],
            id="none",
        ),
    ],
)
def test_claims_about_slots_name_slots_that_can_change(
    first_lines: FirstLines, quote: str, claims: str, lines: list[str]
) -> None:
    bad = quote.replace("behaves:    {rate: 0.99}", claims)

    assert first_lines(bad) == [f"q.circuit.yaml:{line}" for line in lines]


@pytest.mark.parametrize(
    "slot", ["{choice: [x]}", "{integer: [3, 3]}", "{words: {from: [x], count: [2, 2]}}"]
)
def test_a_slot_with_one_value_cannot_be_changed(
    first_lines: FirstLines, quote: str, slot: str
) -> None:
    bad = quote.replace("{choice: [alpha, beta, user_id]}", slot)
    bad = bad.replace("behaves:    {rate: 0.99}", "depends_on: {slots: [name], rate: 0.9}")

    assert first_lines(bad) == [
        "q.circuit.yaml:20:24: slot 'name' has one value: there is nothing to change it to"
    ]
