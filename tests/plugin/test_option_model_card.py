"""`--circuits-model-card`: our lines in a model card, and not a byte of anybody else's changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_circuits.errors import UsageError
from pytest_circuits.report.model_card import BEGIN, END, model_card
from pytest_circuits.report.run import Artifact, Run
from pytest_circuits.spec.bounded_yaml import parse_yaml
from tests.plugin.conftest import Repository
from tests.plugin.hostile import HOSTILE, rendered, tags
from tests.plugin.test_summary import CIRCUIT, GOOD, NECESSARY, with_verdict

PATH = Path("README.md")
IN_THE_WAY = "README.md: its front matter cannot be changed in place; write it in block style"
CARD = """---
# what this model is
language:
- en
- no
license: apache-2.0   # checked by legal
tags: [a, "b"]
---
# My model

Text -- with `code`, and no end of line at its end"""
FOREIGN = """---
license: mit
model-index:
- name: "Other Name"   # kept
  results:
  # measured by hand
  - task:
      type: text-generation
    dataset:
      type: wikitext
      name: 'Wiki Text'
    metrics:
    - {type: perplexity, value: 12.50}

# more
tags:
- z
---
text
"""


def made(before: str, run: Run = GOOD) -> str:
    """The card of a run, which has to be the same when it is made again."""
    card = model_card(before, run, path=PATH)
    assert model_card(card, run, path=PATH) == card
    return card


def results_of(card: str) -> list[EvalResult]:
    """What the Hub's own library reads of the `model-index`."""
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData)
    return data.eval_results or []


def without_ours(card: str, before: str) -> bool:
    """Say whether a card is the one before with lines put in, and no more than that."""
    rest = iter(card.splitlines(keepends=True))
    return all(line in rest for line in before.splitlines(keepends=True)[:-1])


def test_a_run_is_put_into_the_card_and_a_second_one_changes_no_byte(
    repository: Repository,
) -> None:
    repository.write_good_spec()
    card = repository.write("model/README.md", CARD)

    one = repository.gate("--circuits-model-card=model/README.md")
    first = card.read_bytes()
    two = repository.gate("--circuits-model-card=model/README.md")

    assert (one.ret, two.ret) == (0, 0)
    assert card.read_bytes() == first
    found = results_of(first.decode())
    assert [result.metric_type for result in found] == ["behaves", "sufficient", "necessary"]
    assert [result.metric_name for result in found][2] == "necessary (≤ 65.0 %): pass"
    assert found[0].metric_value == 1.0
    assert {r.dataset_name for r in found} == {"circuits/quote_close.circuit.yaml"}
    text = first.decode()
    assert text.split(BEGIN)[1].startswith("\n## Circuit checks\n\ngate: PASS for model (")


def test_all_else_keeps_its_bytes() -> None:
    card = made(CARD)

    assert without_ours(card, CARD)
    assert card.startswith(CARD.partition("---\n# My model")[0] + "model-index:\n- name: ")
    assert f"end of line at its end\n\n{BEGIN}\n" in card
    assert card.endswith(f"{END}\n")


@pytest.mark.parametrize(
    "before", ["", "# Title\n", "---\n---\n# Title\n", "---\nnot: closed\n", "# A\n\n---\n\n# B\n"]
)
def test_a_card_without_front_matter_gets_one(before: str) -> None:
    card = made(before)

    assert len(results_of(card)) == 2
    assert without_ours(card, before)


def test_other_results_stay_and_ours_come_after_them() -> None:
    card = made(FOREIGN)

    assert without_ours(card, FOREIGN)
    assert [r.metric_type for r in results_of(card)] == ["perplexity", "behaves", "necessary"]
    assert ModelCard(card).data.get("tags") == ["z"]


def test_a_later_run_takes_the_place_of_an_earlier_one() -> None:
    failing = replace(GOOD, results=(GOOD.results[0], with_verdict(NECESSARY, HOSTILE.verdict)))

    assert model_card(made(FOREIGN, failing), GOOD, path=PATH) == made(FOREIGN)
    names = [r.metric_name for r in results_of(made(FOREIGN, failing))]
    assert names[1:] == ["behaves (≥ 95.0 %): pass", "necessary (≤ 65.0 %): fail"]


def test_ours_are_known_again_after_the_library_of_the_hub_has_written_the_card() -> None:
    saved = str(ModelCard(made(FOREIGN)))

    again = made(saved)

    assert [r.metric_type for r in results_of(again)] == ["perplexity", "behaves", "necessary"]
    assert again.count(BEGIN) == 1


def test_the_ends_of_lines_are_those_of_the_card() -> None:
    before = FOREIGN.replace("\n", "\r\n")

    card = made(before)

    assert card.replace("\r\n", "").count("\n") == 0
    assert card == made(FOREIGN).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("---\na: [1\n---\n", "README.md: line 2 of its front matter: not YAML: a list that is"),
        ("---\na: &x 1\nb: *x\n---\n", "README.md: line 1 of its front matter: anchors"),
        ("---\n- a\n---\n", "README.md: its front matter is not a mapping"),
        ("---\nmodel-index: []\n---\n", IN_THE_WAY),
        (
            "---\nmodel-index: [{name: x, results: [{a: b}]}]\n---\n",
            IN_THE_WAY,
        ),
        (
            "---\nmodel-index:\n- name: x\n  results: [{a: b}]\n---\n",
            IN_THE_WAY,
        ),
        (f"x\n{BEGIN}\n", "README.md: it needs one <!-- circuits:begin --> and one"),
        (f"{END}\n{BEGIN}\n", "README.md: it needs one <!-- circuits:begin --> and one"),
    ],
)
def test_a_card_that_cannot_be_changed_in_place_is_left_as_it_is(before: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        model_card(before, GOOD, path=PATH)

    assert str(error.value).startswith(message)


@settings(max_examples=25)
@example(values={"a": 1}, body="\r", flow=False)
@given(
    values=st.dictionaries(
        st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)
    ),
    body=st.text(),
    flow=st.booleans(),
)
def test_any_card_keeps_its_bytes_or_is_refused(
    values: dict[str, object], body: str, *, flow: bool
) -> None:
    before = f"---\n{yaml.safe_dump(values, default_flow_style=flow)}---\n{body}"

    try:
        card = made(before)
    except UsageError:
        return

    assert card.startswith(before.removesuffix(f"---\n{body}"))
    assert f"---\n{body}" in card


def test_such_a_card_is_a_problem_of_the_run(repository: Repository) -> None:
    repository.write_good_spec(claims=("behaves",))
    card = repository.write("README.md", "---\na: [1\n---\n")

    result = repository.gate("--circuits-model-card=README.md")

    assert result.ret == 1
    assert card.read_text() == "---\na: [1\n---\n"
    result.stdout.fnmatch_lines(["README.md: line 2 of its front matter: not YAML: *"])


def test_a_run_about_several_models_has_no_card() -> None:
    other = replace(CIRCUIT, name="other", model=Artifact("models/big", "c" * 64))

    with pytest.raises(UsageError, match="about one model, and the run about 2"):
        model_card("", replace(GOOD, circuits=(CIRCUIT, other)), path=PATH)


def test_what_made_the_section_is_named_with_its_version() -> None:
    assert "\nMade by pytest-circuits 0.1.0 for the model `aaaa" in made("")


def test_hostile_names_stay_text_in_section_and_front_matter() -> None:
    card = made(FOREIGN, HOSTILE)

    _, matter, _ = card.split("---\n", 2)
    assert parse_yaml(matter, path=PATH).problems == ()
    assert len(results_of(card)) == 3
    assert card.count(END) == 1
    section = card.split(BEGIN)[1].split(END)[0]
    ours = {"h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert tags(rendered(section)) <= ours
