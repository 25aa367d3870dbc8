"""`--circuits-markdown`: a summary for GitHub and GitLab, whatever names it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.report.markdown import COMMENT, STEP_SUMMARY, markdown, mermaid
from pytest_circuits.report.run import State
from pytest_circuits.report.safe_text import clean, code, fenced, html_code, prose
from pytest_circuits.show.drawing import Drawing
from tests.plugin.conftest import Repository
from tests.plugin.hostile import (
    DRAWING,
    HOSTILE,
    NAME,
    many_failing,
    read,
    rendered,
    tags,
    undecided,
)
from tests.plugin.test_summary import GOOD, NECESSARY, with_verdict

OURS = {"p", "h2", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code"} | {
    *("details", "summary", "pre", "sub")
}
markup = st.text(alphabet="ab1 `|*_~[]()<>&#@!:;$%^{}\"'+-=./\\www", max_size=30) | st.text()


def test_a_run_is_told_with_its_failures_folded(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write_bad_spec()
    repository.write("out/summary.md", "what a run wrote: <sub>pytest-circuits 0.0")

    result = repository.gate("--circuits-markdown=out/summary.md", "--circuits-report=out.json")

    assert result.ret == 1
    text = (repository.path / "out/summary.md").read_text(encoding="utf-8")
    lines = text.replace("\xa0", " ").splitlines()
    assert lines[0] == "## Circuits: ❌ fail"
    assert lines[2].startswith("**gate: FAIL for model (")
    assert (
        "| ✅ pass | `quote_close` | behaves | 100.0 % | ≥ 98.0 % | whole space | - |  |" in lines
    )
    (row,) = [line for line in lines if line.startswith("| ❌ fail | `weak_path` | sufficient |")]
    assert "| 50.0 % | ≥ 95.0 % |" in row
    assert row.endswith(
        "| the rate is too low, the task loss is too high, no better than random "
        "circuits and 1 more |"
    )
    assert any(
        x.startswith("| refuted | `weak_path` | 1 claim holds by proof; fail") for x in lines
    )
    assert "<summary>❌ <code>weak_path</code> sufficient: fail (<code>circuits/weak" in text
    assert any(line.startswith("prompt    'x = ") for line in lines)
    assert "pytest --circuits circuits/weak_path.circuit.yaml::weak_path::sufficient" in lines
    assert "flowchart LR" in lines
    assert lines[-1] == "<sub>pytest-circuits 0.1.0; the whole evidence: `out.json`</sub>"
    result.stdout.fnmatch_lines(["markdown: out/summary.md"])


def test_a_step_summary_is_appended_to(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 1\ncircit: x\n")
    summary = repository.write("step.md", "# Written before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    result = repository.gate(f"--circuits-markdown={summary}")

    assert result.ret == 2
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# Written before\n## Circuits: ⚠️ inconclusive\n")
    assert "gate: NO VERDICT - do not release: 1 specification cannot be used" in text
    assert "circuits/bad.circuit.yaml:2:1: unknown key 'circit'" in text


def test_a_step_summary_that_is_full_is_a_problem_and_stays_as_it_is(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")
    summary = repository.write("step.md", "x" * STEP_SUMMARY)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    result = repository.gate("--circuits-markdown=step.md")

    assert summary.stat().st_size == STEP_SUMMARY
    result.stdout.fnmatch_lines(["step.md: the summary of this step is full"])


def test_a_candidate_that_cannot_be_loaded_is_told(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("candidate/config.json", "{}")

    result = repository.gate("--circuits-model=candidate", "--circuits-markdown=out.md")

    assert result.ret == 2
    text = (repository.path / "out.md").read_text(encoding="utf-8")
    assert "candidate: not a model directory: model.safetensors, tokenizer.json is missing" in text


@given(markup)
def test_any_text_is_read_as_it_is_and_makes_nothing(text: str) -> None:
    page = rendered(f"x {prose(text)}\n\nx {code(text)}\n\n|h|\n|---|\n|x {code(text)}|\n")

    assert tags(page) <= {"p", "code", "table", "thead", "tbody", "tr", "th", "td"}
    cells = [cell for cell in read(page).split("\n") if cell.startswith("x")]
    assert [cell.strip() for cell in cells] == [f"x {clean(text)}".strip()] * 3


@given(markup)
def test_any_text_stays_in_its_summary(text: str) -> None:
    page = rendered(f"<details>\n<summary>{html_code(text)}</summary>\n\nx\n\n</details>\n")

    assert tags(page) == {"details", "summary", "code", "p"}
    assert read(page).split("\n")[1] == clean(text)


@given(markup)
def test_any_block_stays_in_its_fence(text: str) -> None:
    lines = "\n".join(text.splitlines())

    page = rendered(f"{fenced(lines, 'text')}\nafter\n")

    assert tags(page) == {"pre", "code", "p"}
    assert page.endswith("</code></pre>\n<p>after</p>\n")


def test_names_and_texts_of_specifications_are_shown_and_do_nothing() -> None:
    page = rendered(markdown(HOSTILE, evidence="o|`ut.json"))

    assert tags(page) <= OURS
    assert page.count("<details>") == page.count("</details>") == 2
    assert {row.count("<td") for row in page.split("<tr>")[2:4]} == {8}
    assert clean(NAME) in read(page)
    assert "@team" not in markdown(HOSTILE, evidence=None).split("|")[0]  # it would be notified


def test_a_large_run_is_cut_to_a_comment_and_says_what_was_cut() -> None:
    text = markdown(many_failing(300), evidence="out.json")

    assert len(text) <= len(text.encode()) <= COMMENT
    assert text.startswith("## Circuits: ❌ fail\n\n**gate: FAIL")
    assert text.count("❌ fail |") == 300
    foot = text.splitlines()[-1]
    assert "left out, to stay below 65,536 bytes: 300 graphs, 300 passing claims, " in foot
    assert "failure reports; the whole evidence: `out.json`</sub>" in foot
    assert tags(rendered(text)) <= OURS


def test_a_step_summary_has_room_for_more() -> None:
    text = markdown(many_failing(300), evidence=None, most=STEP_SUMMARY)

    assert COMMENT < len(text.encode()) <= STEP_SUMMARY
    assert "left out" not in text


def test_what_fits_is_not_cut_and_the_least_important_goes_first() -> None:
    whole = markdown(many_failing(2), evidence=None)

    cut = markdown(many_failing(2), evidence=None, most=len(whole.encode()) + 50)

    assert "left out" not in whole
    assert cut.splitlines()[-1].endswith("1 graph</sub>")
    assert cut.count("```mermaid") == 1


@pytest.mark.parametrize(
    ("state", "shown"), [(State.SKIPPED, True), (State.DESELECTED, False), (State.ERROR, True)]
)
def test_claims_that_did_not_decide_are_told_unless_one_sentence_stands_for_them(
    state: State, *, shown: bool
) -> None:
    waiting = undecided(replace(GOOD, results=(with_verdict(NECESSARY, NECESSARY.verdict, state),)))

    text = markdown(waiting, evidence=None)

    assert (f"⚠️ {state} | `quote_close` | necessary" in text) is shown
    assert ("<details>" in text) is shown


def test_a_circuit_is_drawn_with_its_edges_and_the_stream_between_them() -> None:
    assert mermaid(DRAWING).splitlines() == [
        "flowchart LR",
        '  n0["0.mlp.act_in[3]"]',
        '  n1["0.mlp.post_act[31]"]',
        '  n2["0.mlp.resid_delta[7]"]',
        '  n3["final_resid[7]"]',
        "  n0 --> n1",
        "  n1 --> n2",
        "  n2 -.-> n3",
    ]


def test_a_name_of_a_node_cannot_leave_its_label() -> None:
    drawn = mermaid(Drawing(nodes=('x"]; click n0 "javascript:y[1]',), edges=()))

    assert drawn.splitlines()[1] == '  n0["x#34;]#59; click n0 #34;javascript#58;y[1]"]'
