"""`pytest-circuits history`: what changed over versions, from the evidence of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.cli import main
from pytest_circuits.report.history import history_of, history_page
from pytest_circuits.report.record import dump, run_to_json
from pytest_circuits.report.run import Run
from tests.plugin.hostile import HOSTILE, NAME
from tests.plugin.test_option_html import check
from tests.plugin.test_summary import BEHAVES, CIRCUIT, GOOD, NECESSARY, with_verdict

WORSE = replace(
    GOOD,
    circuits=(replace(CIRCUIT, nodes=9),),
    results=(BEHAVES, with_verdict(NECESSARY, Verdict.FAIL)),
)


def written(folder: Path, *runs: Run) -> list[str]:
    """The names of files with the evidence of runs."""
    names = [str(folder / f"{place}.json") for place in range(len(runs))]
    for name, run in zip(names, runs, strict=True):
        Path(name).write_text(dump(run_to_json(run)))
    return names


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["history", *arguments])


def test_what_changed_is_told_and_shown(tmp_path: Path) -> None:
    page = tmp_path / "out.html"

    result = asked(*written(tmp_path, GOOD, GOOD, WORSE), f"--html={page}")

    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["1", "pass"], ["2", "pass"], ["3", "fail"]]
    assert lines[3:] == [
        "quote_close: grade: partial before, now refuted",
        "quote_close: size: 7 nodes, 3 edges before, now 9 nodes, 3 edges",
        "quote_close: necessary: pass before, now fail (50.0 %)",
        f"written: {page}",
    ]
    found = check(page.read_text(encoding="utf-8"))
    assert "quote_close: necessary: pass before, now fail (50.0 %)" in found.text
    assert "99.4 %, 99.4 %, 99.4 %; needed 95.0 %" in found.of("aria-label")
    assert asked(*written(tmp_path, GOOD), f"--html={page}").exit_code == 0  # it is our page


def test_versions_that_say_the_same_are_told_to(tmp_path: Path) -> None:
    result = asked(*written(tmp_path, GOOD, GOOD))

    assert result.output.splitlines()[-1] == (
        "no verdict, grade or size has changed since the version before"
    )


def test_what_is_not_gated_any_more_is_a_change() -> None:
    other = replace(CIRCUIT, name="other")
    both = replace(
        GOOD, circuits=(CIRCUIT, other), results=(*GOOD.results, replace(BEHAVES, circuit="other"))
    )
    less = replace(GOOD, results=(BEHAVES,))

    found = history_of([("a", both), ("b", less)]).changes

    assert "other: was gated before, and is not in the last version" in found
    assert "quote_close: necessary: was claimed before, and is not any more" in found


@pytest.mark.parametrize("run", [HOSTILE, Run((), ())])
def test_texts_stay_texts(run: Run) -> None:
    found = check(history_page([(NAME, run), ("x", GOOD), (NAME, run)]))
    assert NAME in found.text


def test_what_is_no_record_is_refused_and_nothing_else_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    other = tmp_path / "mine.html"
    other.write_text("mine")

    assert asked(str(tmp_path / "no.json")).exit_code == 2
    result = asked(*written(tmp_path, GOOD), f"--html={other}")

    assert result.exit_code == 4
    assert other.read_text() == "mine"
