"""Prompts that tell rules apart: how they are written, refused, and held against a tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.write import dump_spec

Load = Callable[[str], LoadedSpec]
FirstLines = Callable[[str], list[str]]

GOOD = 'disambiguate:\n  - {prompt: "x = \'a", between: ["\'", \'"\']}\n'
TWO = "a list of two texts, [one rule's token, the other's]"


def test_prompts_that_tell_rules_apart_are_read_and_written(load: Load, quote: str) -> None:
    spec = load(quote + GOOD).spec

    assert [(item.prompt, item.between) for item in spec.disambiguate] == [("x = 'a", ("'", '"'))]
    assert GOOD.splitlines()[1] in dump_spec(spec).replace('"\'"', '"\'"')
    assert load(dump_spec(spec)).spec == spec


def test_they_decide_the_evidence_and_so_the_digest(load: Load, quote: str) -> None:
    digests = {load(text).digest for text in (quote, quote + GOOD, quote + GOOD.replace("x", "y"))}

    assert len(digests) == 3


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (
            "{prompt: x, between: [a]}",
            f"27:26: 'between' of prompt 1 of disambiguate must be {TWO}, not of 1",
        ),
        (  # said once, although both items are missing
            "{prompt: x, between: []}",
            f"27:26: 'between' of prompt 1 of disambiguate must be {TWO}, not of 0",
        ),
        ("{prompt: x, between: [a, a]}", "27:30: token 'a' is listed twice; keep one"),
        (
            "{prompt: x}",
            f"27:5: 'between' is missing in prompt 1 of disambiguate; it must be {TWO}",
        ),
    ],
)
def test_prompts_that_make_no_sense_are_named_at_their_place(
    first_lines: FirstLines, quote: str, item: str, line: str
) -> None:
    assert first_lines(f"{quote}disambiguate:\n  - {item}\n") == [f"q.circuit.yaml:{line}"]


def test_continuations_of_more_than_one_token_are_refused(load: Load, quote: str) -> None:
    loaded = load(quote + GOOD.replace("'\"'", "ba"))

    (problem,) = check_prompts(loaded, lambda text: [*map(ord, text)], max_tokens=9, pairs=())

    assert str(problem).splitlines()[0] == (
        "q.circuit.yaml:27:39: the answer 'ba' is not one token after 'x = 'a': it becomes 2 "
        "tokens (98, 97)"
    )
