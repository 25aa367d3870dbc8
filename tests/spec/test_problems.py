from __future__ import annotations

import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.spec.problems import Problem, quoted, suggest, visible

BIDI = "\u202e"


def test_a_problem_shows_its_place_its_hint_its_line_and_a_caret() -> None:
    problem = Problem(
        path=Path("q.yaml"),
        line=4,
        col=3,
        text="unknown key 'sufficent' in claims",
        hint="did you mean 'sufficient'?",
        source="  sufficent: {rate: 0.98}",
        length=9,
    )

    assert str(problem) == (
        "q.yaml:4:3: unknown key 'sufficent' in claims; did you mean 'sufficient'?\n"
        "      sufficent: {rate: 0.98}\n"
        "      ^^^^^^^^^"
    )


def test_a_long_line_is_cut_around_the_caret() -> None:
    problem = Problem(Path("q"), 1, 5001, "bad", source="a" * 5000 + "B" + "c" * 5000)

    _, source, caret = str(problem).splitlines()

    assert len(source) < 110
    assert source[caret.index("^")] == "B"


def test_the_caret_stands_under_text_that_follows_tabs_and_wide_characters() -> None:
    tabbed = Problem(Path("q"), 1, 2, "bad", source="\tx")
    wide = Problem(Path("q"), 1, 3, "bad", source="文字x")

    assert str(tabbed).splitlines()[1:] == ["     x", "     ^"]
    assert str(wide).splitlines()[1:] == ["    文字x", "        ^"]


@given(st.text(), st.text(), st.text(), st.integers(1, 50))
def test_no_control_or_bidi_character_reaches_the_reader(
    text: str, hint: str, source: str, col: int
) -> None:
    shown = str(Problem(Path(f"q{BIDI}"), 1, col, text, hint, source.replace("\n", ""), 3))

    unsafe = {unicodedata.category(char) for char in shown.replace("\n", "")} & {
        "Cc",
        "Cf",
        "Cs",
        "Cn",
        "Zl",
        "Zp",
    }
    assert not unsafe
    assert shown.count("\n") in (0, 2)


def test_invisible_characters_are_written_as_escapes() -> None:
    assert visible(f"a\x1b[31m{BIDI}\n\U000e0041") == r"a\x1b[31m\u202e\n\U000e0041"
    assert visible("naïve 文") == "naïve 文"


def test_a_long_text_is_quoted_by_its_ends() -> None:
    assert quoted("a" * 100 + "b" * 100) == f"'{'a' * 30}…{'b' * 30}'"


def test_a_suggestion_is_the_closest_known_word_or_none() -> None:
    assert suggest("sufficent", ["behaves", "sufficient"]) == "did you mean 'sufficient'?"
    assert suggest("MEAN", ["mean", "zero"]) == "did you mean 'mean'?"
    assert suggest("xyz", ["mean", "zero"]) is None
