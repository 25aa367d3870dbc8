"""Generated lines: valid Python in which every task of the behavior files occurs."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.model.tokenizer import Tokenizer, train_tokenizer
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import load_spec
from pytest_circuits.train.data.bundled import generated_documents, standard_library
from pytest_circuits.train.data.vocabulary import END_OF_TEXT
from pytest_circuits.train.lines import generate
from pytest_circuits.train.lines.families import FAMILIES, Family

TASKS = sorted((Path(__file__).parents[2] / "circuits").glob("*.circuit.yaml"))
DRAWS = 200

# What generated text shows of each task: a pattern for either cue.
SHOWN = {
    "bracket_brace": (r" = \{[\"'][^\n]*: ", r" = \[[\"'][^\n]*, "),
    "bracket_counting": (r" = \[\[.*\]\]$", r" = \[\d[^\[]*\]$"),
    "class_init": (r"self\.(\w+) = \1$", r"__init__\(self(?:, \w+)+\)"),
    "else_elif": (r"else:$", r"elif "),
    "enumerate_range": (r"for \w+, \w+ in enumerate", r"for \w+ in range"),
    "final_kwarg": (r"def \w+\(\w+=.*, \w+=", r"def \w+\(\w+, \w+"),
    "for_while": (r"^ *for \w+", r"^ *while \w+"),
    "fstring_brace": (r"\(f\"[^\"]* \{", r"\(\"[a-z ]*\"\)"),
    "if_equals": (r"^ *if \w+ ==", r"^ *\w+ = "),
    "if_ternary": (r"^ *if \w+:", r" if \w+ else "),
    "indent_for": (r"^for .*\n    \w", r"^    for .*\n        \w"),
    "lambda_func": (r"lambda \w+:", r"def \w+\("),
    "set_or_string": (r"^ *(\w+) = set\(\)\n(?:.*\n){0,2} *\1\.add", r"^ *(\w+) = \"\"\n"),
    "set_or_string_fixedvarname": (r"current = set\(\)", r"current = \"\"$"),
    "single_double_quote": (r"\(\"[a-z ]*\"\)", r"\('[a-z ]*'\)"),
    "var_if": (r"if \w+ == True:", r" = \w+ == True$"),
    "var_swap": (r"^(\w+), (\w+) = \2, \1$", r"^ +(\w+), (\w+) = \2, \1$"),
    "while_return_true": (r"while True:", r"return True$"),
    "with_as": (r"with open\(\w+\) as", r" = open\(\w+\)$"),
    "with_open": (r"open\([\"'].*, [\"']r[\"']\)", r"open\([\"'].*, [\"']w[\"']\)"),
}


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    texts = [*standard_library(modules=100), *generated_documents(seed=0, count=300)]
    return train_tokenizer(texts, vocab_size=1024, special=(END_OF_TEXT,))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_gives_valid_and_varied_python(family: Family) -> None:
    rng = _rng(0)
    texts = [family(rng) for _ in range(DRAWS)]
    for text in texts:
        compile(text, "<generated>", "exec")
        assert not text.startswith("\n")
        assert not text.endswith("\n")
    assert len(set(texts)) >= DRAWS / 4


@pytest.mark.parametrize("seed", range(5))
def test_a_document_is_a_valid_module_of_the_asked_length(seed: int) -> None:
    text = generate(_rng(seed), characters=4000)
    compile(text, "<generated>", "exec")
    assert 4000 <= len(text) < 6000


def test_every_family_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[int] = set()

    def watched(index: int, family: Family) -> Family:
        def draw(rng: np.random.Generator) -> str:
            drawn.add(index)
            return family(rng)

        return draw

    families = tuple(watched(i, family) for i, family in enumerate(FAMILIES))
    monkeypatch.setattr("pytest_circuits.train.lines._DRAWN", families)
    generate(_rng(0), characters=40_000)
    assert len(drawn) == len(FAMILIES)
    assert min(FAMILIES.values()) >= 1


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.name.split(".")[0])
def test_a_behavior_can_be_asked_of_a_model_of_the_mixture(path: Path) -> None:
    loaded = load_spec(path)
    tokenizer, space = _tokenizer(), PromptSpace(loaded.spec.behavior)
    pairs = space.sample(100, seed=0)
    assert loaded.spec.circuit == path.name.removesuffix(".circuit.yaml")
    assert check_prompts(loaded, tokenizer.encode, max_tokens=64, pairs=pairs) == ()
    assert space.size >= 24


@pytest.mark.parametrize("task", SHOWN)
def test_both_cues_of_a_task_are_shown_often(task: str) -> None:
    text = "".join(generated_documents(seed=0, count=200))
    for pattern in SHOWN[task]:
        assert len(re.findall(pattern, text, re.MULTILINE)) >= 100


def test_each_task_has_its_two_patterns() -> None:
    assert set(SHOWN) >= {path.name.removesuffix(".circuit.yaml") for path in TASKS}
