"""The reference is what the code says, and says something of everything."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from docs import make_reference
from pytest_circuits.claims.evidence import Counterexample, Evidence, Law, Rate
from pytest_circuits.report.record import run_to_json
from pytest_circuits.report.run import Circuit
from pytest_circuits.spec.load import load_spec
from tests.plugin.test_failure_text import EVIDENCE
from tests.plugin.test_summary import BEHAVES, GOOD


def test_the_pages_are_what_the_code_says() -> None:
    texts = {page.name: page.read_text("utf-8") for page in make_reference.FOLDER.glob("*.md")}
    assert texts == make_reference.pages(), "run: python docs/make_reference.py"


def test_the_example_of_every_key_loads() -> None:
    load_spec(make_reference.EVERY_KEY)


def test_what_has_no_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_reference, "add_options", lambda told: told.addini("bare", help=""))
    with pytest.raises(ValueError, match="bare has no description"):
        make_reference.pages()


def test_a_key_without_an_example_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    text = make_reference.EVERY_KEY.read_text(encoding="utf-8").replace("search: 100, ", "")
    monkeypatch.setattr(make_reference, "EVERY_KEY", _Text(text))
    with pytest.raises(ValueError, match=r"protocol\.search has no example"):
        make_reference.pages()


class _Text:
    name = "every_key.circuit.yaml"

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, **_: str) -> str:
        return self._text


def test_a_record_has_the_fields_of_the_reference_and_no_others() -> None:
    run = replace(GOOD, results=(replace(BEHAVES, evidence=EVIDENCE),))
    record: dict[str, Any] = json.loads(json.dumps(run_to_json(run)))
    (circuit,) = record["circuits"]
    (claim,) = circuit["claims"]

    assert record.keys() == make_reference.RECORD.keys()
    assert circuit.keys() == {*_names(Circuit), "grade", "claims"}
    assert claim.keys() == {*_names(Evidence), "nodeid", "state", "waived"}
    assert claim["rate"].keys() <= _names(Rate)
    assert claim["law"].keys() == _names(Law)
    assert claim["law"]["counterexample"].keys() == _names(Counterexample)


def _names(kind: Any) -> set[str]:  # noqa: ANN401
    return {field.name for field in fields(kind)}
