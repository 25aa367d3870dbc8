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
            "q.circuit.yaml:13:7: the contrast of cue 'quote' must be a mapping of exactly two "
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
