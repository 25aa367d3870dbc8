from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.bounded_yaml import parse_yaml, read_yaml
from pytest_circuits.spec.tree import Limits


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[1, 2", "1:6: not YAML: a list that is not closed; add the missing ',' or ']'"),
        ("{a: 1", "1:6: not YAML: a mapping that is not closed; add the missing ',' or '}'"),
        ("a: 'x", "1:6: not YAML: a quoted text that is not closed; add the closing quote"),
        ("a: b: c", "1:5: not YAML: a ':' where no key can stand; indent or quote the text"),
        ("a:\n\t- 1", "2:1: not YAML: a tab where only spaces can stand; use spaces"),
        (
            "a: @b",
            "1:4: not YAML: a character that no value can begin with; put the text in quotes",
        ),
        ("a: 1\nb", "2:2: not YAML: a key without its ':'; write it as 'key: value'"),
        (
            "- a\nb: 1",
            "2:1: not YAML: a line that does not fit the indentation; align it with its list",
        ),
        (
            'a: "\\q"',
            "1:6: not YAML: an escape that YAML does not know; write a backslash as '\\\\'",
        ),
        ("[] x", "1:4: not YAML: text after the end of the specification; remove it"),
        ("[" * 100_000, "1:33: nested deeper than 32 levels"),
        ("a: &x 1", "1:4: anchors ('&x') are not read; remove it"),
        ("a: *x", "1:4: aliases ('*x') are not read; write it out"),
        ("a: !!int '1'", "1:4: tags ('!!int') are not read; remove it"),
        ("a: !x 1", "1:4: tags ('!x') are not read; remove it"),
        ("a: ! 1", "1:4: tags ('!') are not read; remove it"),
        ("<<: {a: 1}", "1:1: merge keys ('<<') are not read; write the keys out"),
        ("a: 1\na: 2", "2:1: duplicate key 'a': first given on line 1; keep one"),
        ("1: 1\n'1': 2", "2:1: duplicate key '1': first given on line 1; keep one"),
        (
            "a: 1\n---\na: 2",
            "2:1: a second document; one file holds one specification: remove '---'",
        ),
        ("%YAML 1.1\n---\na: 1", "1:1: directives ('%') are not read; remove the line"),
        ("? [a]\n: 1", "1:3: a list or mapping cannot be a key; quote the key if it is a text"),
        ("*a : 1", "1:1: an alias cannot be a key; write the text out"),
        ("a: " + "9" * 5000, "1:4: a number of more than 300 digits; quote it if it is a text"),
        ('a: "\\UFFFFFFFF"', "1:7: an escape or directive out of range"),
        ("a: b\x1b[31m", "1:5: the character '\\x1b' cannot stand in YAML"),
        ("a: " + "x" * 70_000, "1:4: a text of more than 65,536 characters"),
        ("[" + "1," * 20_000 + "]", "1:40000: more than 20,000 values; split the file"),
    ],
)
def test_what_a_specification_must_not_hold_is_named_at_its_place(text: str, line: str) -> None:
    tree = parse_yaml(text, path=Path("q.yaml"))

    assert [str(problem).splitlines()[0] for problem in tree.problems] == [f"q.yaml:{line}"]


def test_half_of_a_surrogate_pair_is_refused_and_a_whole_one_is_a_character() -> None:
    half = parse_yaml('a: "\\ud83d"', path=Path("q.yaml"))
    whole = parse_yaml('a: "\\ud83d\\ude00"', path=Path("q.yaml"))

    assert [problem.text for problem in half.problems] == ["an escape that is half of a character"]
    assert whole.value == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2020-99-99", "2020-99-99"),
        ("0x1F", "0x1F"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("0777", 777),
        ("+3", 3),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("'true'", "true"),
        ('"\\u0041"', "A"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(written: str, value: object) -> None:
    tree = parse_yaml(f"a: {written}", path=Path("q.yaml"))

    assert repr(tree.value) == repr({"a": value})


def test_keys_are_texts_and_every_value_has_its_place() -> None:
    tree = parse_yaml("1: [a, {b: c}]\r\nno: d", path=Path("q.yaml"))

    assert tree.value == {"1": ["a", {"b": "c"}], "no": "d"}
    assert (tree.mark(("1", 1, "b")).line, tree.mark(("1", 1, "b")).col) == (0, 11)
    assert (tree.mark(("no",)).line, tree.mark(("no",)).col) == (1, 4)
    assert (tree.mark(("no",), key=True).line, tree.mark(("no",), key=True).col) == (1, 0)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")

    assert read_yaml(path).value == {"a": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: 1\nb: \xff", "2:4: not UTF-8 text; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_not_small_utf_8_text_is_refused(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "q.yaml"
    path.write_bytes(data)

    with pytest.raises(SpecError) as caught:
        read_yaml(path)

    assert str(caught.value) == f"{path}:{said}"


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_bytes(b"#" * (2**20 + 1))

    with pytest.raises(SpecError, match="larger than 1048576 bytes"):
        read_yaml(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"q\.yaml: cannot be read: No such file or directory"):
        read_yaml(tmp_path / "q.yaml")


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(SpecError, match="pipe: not a regular file"):
        read_yaml(pipe)
    with pytest.raises(SpecError, match=r"not a regular file|Is a directory"):
        read_yaml(tmp_path)


def test_limits_can_be_widened_for_files_of_ours() -> None:
    text = "[" + "1," * 30_000 + "]"

    tree = parse_yaml(text, path=Path("q.yaml"), limits=Limits(values=40_000))

    assert tree.complete
    assert tree.value == [1] * 30_000
