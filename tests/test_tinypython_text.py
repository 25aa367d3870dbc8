"""The text of the bundled model: valid Python in which every task of the behavior files occurs."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.random import Generator, Philox
from tinypython_text import FAMILIES, document

from pytest_circuits.train.data.config import Folder
from pytest_circuits.train.data.documents import documents

ROOT = Path(__file__).parents[1]
LEARNT_ON = "6ce501ee4f50761a218e7298c207e72607238725099636390c3adb15c9d531a9"  # the first twelve
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


def _script(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "models" / "tinypython_text.py"), "--out", str(out)]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def test_the_trainer_reads_the_documents_that_the_bundled_model_learnt_on(tmp_path: Path) -> None:
    done = _script(tmp_path / "text", "--documents", "12")
    assert done.stdout == f"{tmp_path / 'text'}: 12 documents\n", done.stderr
    read = list(documents(Folder(path="text"), base=tmp_path))
    assert read == [document(seed=0, index=index) for index in range(12)]
    assert hashlib.sha256("".join(read).encode()).hexdigest() == LEARNT_ON
    assert document(seed=1, index=0) != read[0]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    done = _script(tmp_path)
    assert done.returncode == 2
    assert "nothing is overwritten" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_gives_valid_and_varied_python(family: Callable[[Generator], str]) -> None:
    rng = Generator(Philox(0))
    texts = [family(rng) for _ in range(DRAWS)]
    for text in texts:
        compile(text, "<generated>", "exec")
        assert text == text.strip("\n")
    assert len(set(texts)) >= DRAWS / 4


@pytest.mark.parametrize("index", range(5))
def test_a_document_is_a_valid_module_of_the_asked_length(index: int) -> None:
    text = document(seed=0, index=index)
    compile(text, "<generated>", "exec")
    assert 4000 <= len(text) < 6000


def test_both_cues_of_every_task_are_shown_often() -> None:
    text = "".join(document(seed=0, index=index) for index in range(200))
    counts = {
        (task, pattern): len(re.findall(pattern, text, re.MULTILINE))
        for task, patterns in SHOWN.items()
        for pattern in patterns
    }
    assert {cue: count for cue, count in counts.items() if count < 100} == {}
    tasks = (ROOT / "circuits").glob("*.circuit.yaml")
    assert set(SHOWN) >= {path.name.removesuffix(".circuit.yaml") for path in tasks}
