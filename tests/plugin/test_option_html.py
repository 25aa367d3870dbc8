"""`--circuits-html`: one page for people, whatever texts it is made of."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.claims.evidence import Asked, Cause, Controls, Curve, Law, Rate, Verdict, Worst
from pytest_circuits.report.axis import HEIGHT, WIDTH, line_of, rate_axis, spread_of
from pytest_circuits.report.html import html
from pytest_circuits.report.page_claim import LONGEST
from pytest_circuits.report.run import Result, Run, State, Waiver
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.problems import visible
from tests.plugin.conftest import Repository
from tests.plugin.hostile import HOSTILE, NAME, many_failing
from tests.plugin.test_failure_text import EXAMPLE
from tests.plugin.test_summary import BEHAVES, CIRCUIT, GOOD, NECESSARY, with_verdict

OURS = {
    *("html", "head", "meta", "title", "style", "body", "a", "main", "section", "h1", "h2", "h3"),
    *("h4", "p", "strong", "span", "dl", "dt", "dd", "code", "pre", "ul", "li", "br", "details"),
    *("summary", "div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "title", "rect", "path", "circle", "text"),
}
EMPTY = {"meta", "br"}


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, their attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in {"td", "th", "dt", "dd", "p"}:
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def of(self, name: str) -> list[str]:
        return [value for each, value in self.attributes if each == name]


def check(page: str) -> Reader:
    """Hold a page to what it promises: nothing runs, nothing is loaded, every link leads on."""
    found = Reader(page)
    assert set(found.tags) <= OURS
    names = {name for name, _ in found.attributes}
    assert not [name for name in names if name.startswith("on")]
    assert not names & {"src", "style", "srcset", "data", "action", "formaction", "ping"}
    ids = found.of("id")
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in found.of("href")} <= set(ids)
    assert all(target.startswith("#") for target in found.of("href"))
    digest = b64encode(sha256(found.style.encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        in found.of("content")
    )
    assert all(visible(line) == line for line in page.split("\n"))
    return found


def one(result: Result, **changes: Any) -> Run:  # noqa: ANN401  (fields of the evidence)
    """A run of a claim that fails, with other evidence."""
    failed = with_verdict(result, Verdict.FAIL)
    return replace(GOOD, results=(replace(failed, evidence=replace(failed.evidence, **changes)),))


def test_a_run_is_told_with_what_does_not_pass_first(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write_bad_spec()
    repository.write("out.html", '<meta name="generator" content="pytest-circuits 0.0">')

    result = repository.gate("--circuits-html=out.html", "--circuits-report=out.json")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["html: out.html"])
    page = (repository.path / "out.html").read_text(encoding="utf-8")
    found = check(page)
    places = [
        found.text.index(text)
        for text in (
            "gate: FAIL for model (",
            "What does not pass",
            "weak_path: sufficient",
            "All claims",
            "the circuit alone prefers the answer on 50.0 % of all 32 prompts",
            "pytest --circuits circuits/weak_path.circuit.yaml::weak_path::sufficient",
            "out.json (sha256 ",
        )
    ]
    assert places == sorted(places)
    assert "observed 50.0 %, needed ≥ 95.0 %" in found.of("aria-label")
    # Tokens say what they send on, and are coloured by it.
    sent = re.findall(
        r'class="token (for|against)(\d)">(.*?) <span class="nats">(.*?)</span>', page
    )
    assert sent
    assert all((sign == "for") == (float(nats) > 0) for sign, _, _, nats in sent)
    most = {unescape(token) for _, level, token, _ in sent if level == "3"}
    assert most <= {repr(mark) for mark in (" '", ' "')}
    # Below the circuit that fails stands what its nodes carry, below the other what its head sees.
    drawings = re.findall(r'<svg xmlns.*?class="drawing".*?</svg>', page)
    assert ["cells" in each for each in drawings] == [False, True]
    assert all('class="arc"' in each and ">head 0." in each for each in drawings)
    assert re.search(r"head 0.0 looks from '\w+' at ' \"' (100|9\d)%", found.text)
    # What fails is unfolded, with the drawing of its circuit.
    assert re.findall("<details class=.(.*?)(?:. id=.*)?. open>", page) == ["more", "claim fail"]


def test_a_refused_specification_leaves_a_page_that_says_so(repository: Repository) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 1\ncircit: x\n")

    result = repository.gate("--circuits-html=out.html")

    assert result.ret == 2
    found = check((repository.path / "out.html").read_text(encoding="utf-8"))
    assert "gate: NO VERDICT - do not release" in found.text
    assert "circuits/bad.circuit.yaml:2:1: unknown key 'circit'" in found.text


@pytest.mark.parametrize("run", [GOOD, HOSTILE, many_failing(3), Run((), ())])
def test_texts_stay_texts(run: Run) -> None:
    found = check(html(run, record=NAME))

    if run is HOSTILE:
        assert NAME in found.text
        assert "<script>z</script>" in found.text


@given(st.text())
def test_any_text_is_shown_and_none_is_obeyed(text: str) -> None:
    circuit = replace(CIRCUIT, name=text, description=text, left_out={text: text})
    run = replace(GOOD, circuits=(circuit,), results=(replace(BEHAVES, circuit=text),))
    check(html(replace(run, problems=(text,), notes=(text,)), record=text))


def test_what_tokens_send_is_shaded_by_its_share_of_the_most() -> None:
    page = html(one(BEHAVES, law=Law(12, replace(EXAMPLE, sent=(0.01, -0.8, 2.4, 1.1)))))

    found = re.findall(
        r'<code class="token ?(.*?)">.*?(?: <span class="nats">(.*?)</span>)?</', page
    )
    assert found == [("", ""), ("against1", "-0.80"), ("for3", "+2.40"), ("for2", "+1.10")]
    for sent in (
        (),
        (0.001, 0.002, -0.003, 0.0),
        (1.0,),
    ):  # not known, nothing, not of these tokens
        plain = html(one(BEHAVES, law=Law(12, replace(EXAMPLE, sent=sent))))
        assert 'class="nats"' not in plain


def test_spaces_of_a_prompt_are_shown_as_they_are() -> None:
    example = replace(EXAMPLE, prompt="if x:\n    y  =  1\x1b[31m\u202e")
    page = check(html(one(BEHAVES, law=Law(12, example))))

    assert repr(example.prompt) in page.text


def test_a_prompt_of_ten_thousand_characters_is_cut_and_says_so() -> None:
    long = "word " * 2000
    example = replace(EXAMPLE, prompt=long, partner=long, tokens=("word ",) * 2000)
    worst = Worst("it is worst", (Asked(long, "a", "b", long, ()),) * 3)
    page = html(one(BEHAVES, law=Law(12, example), worst=worst))

    assert f"… and {10_000 - LONGEST} characters more" in check(page).text
    assert "… and 1880 more" in check(page).text
    assert len(page) < 40_000


def test_ablations_baselines_and_waivers_are_told() -> None:
    measures = {"rate_before": 0.9, "delta_to_baseline": -0.1, "preference_before": 4.0}
    run = one(
        NECESSARY,
        under={"mean": Verdict.PASS, "zero": Verdict.FAIL},
        measures={**measures, "preference": 3.0},
    )
    waived = replace(run.results[0], waived=Waiver("2030-01-31", "known", "x:1:1"))

    text = " ".join(check(html(replace(run, results=(waived,)))).text.split())

    assert "by ablation: mean ✓ pass , zero ✗ fail" in text.replace("pass,", "pass ,")
    assert "rate alone 90.0 % 80.0 %" in text
    assert "preference (nats) 4.000 3.000" in text
    assert "waived until 2030-01-31: known" in text


@pytest.mark.parametrize(
    ("failing", "rate", "said"),
    [
        (["behaves", "sufficient"], 0.9, "the model does not give the right answers."),
        (["sufficient", "necessary"], 0.9, "without it they stay: something else gives them."),
        (["sufficient", "necessary"], 0.1, "the circuit alone does not give them."),
        (["necessary"], 0.9, "that the model needs it does not hold."),
        (["stable"], 0.1, "it is not what it was in the baseline."),
    ],
)
def test_what_red_claims_say_together_stands_above_them(
    failing: list[str], rate: float, said: str
) -> None:
    observed = Rate(rate, 0, 1, 0.5, 10, exhaustive=True, at_most=True)
    results = []
    for claim in ("behaves", "sufficient", "necessary", "stable"):
        verdict = Verdict.FAIL if claim in failing else Verdict.PASS
        evidence = replace(NECESSARY.evidence, claim=claim, verdict=verdict, rate=observed)
        results.append(replace(NECESSARY, evidence=evidence))

    text = check(html(replace(GOOD, results=tuple(results)))).text

    assert text.index("What does not pass") < text.index(said) < text.index("All claims")


def test_the_words_of_the_page_are_explained_on_it() -> None:
    text = " ".join(check(html(one(NECESSARY))).text.split())

    assert "answer, foil the token that should come next at a prompt" in text
    assert "margin logit(answer) - logit(foil), in nats" in text
    for ablation in Ablation:
        assert f"under {ablation} {ablation.kind.value}" in text


def test_what_does_not_pass_names_its_columns_where_a_screen_is_narrow() -> None:
    page = check(html(one(with_verdict(BEHAVES, Verdict.FAIL))))

    headed = ["verdict", "why", "observed", "needed", "at the prompt"]
    assert page.of("data-of") == headed
    assert " ".join(["claim", *headed]) in " ".join(page.text.split())


def test_a_reason_is_told_in_its_parts() -> None:
    page = html(one(BEHAVES, reason="one (a; b); two"))

    assert "<li>one (a; b)</li>" in page
    assert "<li>two</li>" in page


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 1), st.integers(0, 1))
def test_every_mark_of_an_axis_is_on_it(
    seen: float,
    threshold: float,
    sure: float,
    below: int,
    digits: int,
) -> None:
    at_most = bool(below)
    bounds = (round(sure, digits),) * 2
    rate = Rate(seen, *bounds, threshold, n=5, exhaustive=False, at_most=at_most)
    axis = rate_axis(rate)

    assert axis is not None
    marks = (axis.observed, axis.low, axis.high, axis.threshold, *(x for x, _ in axis.ticks))
    assert all(10 <= mark <= WIDTH - 10 for mark in marks)
    assert axis.low <= axis.high
    start, width = axis.allowed
    assert start in {10, axis.threshold}
    assert start + width == pytest.approx(axis.threshold if at_most else WIDTH - 10)


def test_an_axis_is_as_long_as_its_marks_need() -> None:
    near = rate_axis(Rate(1.0, 0.99, 1.0, 0.98, n=500, exhaustive=False))
    far = rate_axis(Rate(0.5, 0.45, 0.55, 0.98, n=500, exhaustive=False))

    assert near is not None
    assert far is not None
    assert [label for _, label in near.ticks] == ["90%", "95%", "100%"]
    assert [label for _, label in far.ticks] == ["40%", "70%", "100%"]
    assert near.threshold == pytest.approx(10 + 0.8 * (WIDTH - 20))


RANDOM = Controls("task loss, nats", 0.03, (0.4, 0.5, 0.75), limit=0.15, under="mean")
GAPS = Curve("gap, nats", ((0.1, 0.02), (1.0, 0.3)), limit=0.2, under="zero")


def test_a_figure_stands_on_one_axis_with_those_of_random_circuits() -> None:
    found = check(html(one(BEHAVES, controls=(RANDOM,), curves=(GAPS,))))

    said = "task loss, nats: 0.03, at most 0.15 needed; 3 random circuits 0.4 to 0.75"
    assert said in found.of("aria-label")
    assert "task loss, nats, under mean: the dot is the circuit" in found.text
    assert "gap, nats, at most 0.3, at most 0.2 needed" in found.of("aria-label")
    assert "gap, nats, under zero: with random parts of the rest ablated" in found.text


def test_what_is_drawn_stands_where_its_number_is() -> None:
    spread, line = spread_of(RANDOM), line_of(GAPS)

    assert spread is not None
    assert line is not None
    whole = WIDTH - 20
    assert spread.observed == pytest.approx(10 + whole * 0.03 / 0.75, abs=0.1)
    assert spread.limit == pytest.approx(10 + whole * 0.15 / 0.75, abs=0.1)
    assert spread.random.count("M") == 3
    assert [label for _, label in spread.ticks] == ["0", "0.75"]
    low = HEIGHT - 10 - (HEIGHT - 20) * 0.02 / 0.3
    (x, y), last = line.dots
    assert last == (290.0, 10.0)
    assert (x, y) == pytest.approx((38.0, low), abs=0.1)
    assert line.zero == HEIGHT - 10


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(-1e6, 1e6))
def test_every_control_is_on_its_axis(random: list[float], own: float) -> None:
    spread = spread_of(Controls("x", own, tuple(sorted(random))))

    assert spread is not None
    places = [float(each.split()[0]) for each in spread.random.split("M")[1:]]
    assert all(10 <= place <= WIDTH - 10 for place in (*places, spread.observed))
    assert places == sorted(places)


def test_what_is_no_number_has_no_axis() -> None:
    nan = float("nan")
    assert rate_axis(Rate(nan, nan, nan, 0.9, n=5, exhaustive=False)) is None
    assert spread_of(replace(RANDOM, own=nan)) is None
    assert spread_of(replace(RANDOM, random=())) is None
    assert line_of(replace(GAPS, points=((0.1, nan),))) is None
    bad = replace(
        BEHAVES,
        evidence=replace(BEHAVES.evidence, rate=Rate(nan, nan, nan, 0.9, n=5, exhaustive=True)),
    )
    check(html(replace(GOOD, results=(bad,))))


def test_claims_that_did_not_run_are_told() -> None:
    skipped = with_verdict(NECESSARY, Verdict.INCONCLUSIVE, State.SKIPPED)

    assert "skipped" in check(html(replace(GOOD, results=(BEHAVES, skipped)))).text


def test_the_library_is_loaded_when_a_page_is_made() -> None:
    script = (
        "import sys, pytest_circuits.report.writing, pytest_circuits.plugin\n"
        "assert 'jinja2' not in sys.modules\n"
        "import pytest_circuits.report.html\nassert 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_causes_of_a_counterexample_are_told() -> None:
    cause = Cause("0.mlp.post_act[31]", "ablated", 1.0, 0.25, 0.75)
    example = replace(EXAMPLE, causes=(cause,))

    text = check(html(one(BEHAVES, law=Law(12, example)))).text

    assert "0.mlp.post_act[31] ablated +1.000 +0.250 75 %" in text


def test_a_part_of_a_run_is_called_no_pass() -> None:
    part = replace(GOOD, results=(BEHAVES,))

    assert Reader(html(part)).text.split("? ")[1].startswith("pass of a part")
