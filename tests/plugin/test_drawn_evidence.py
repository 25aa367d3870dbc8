"""What the record has for drawings: random circuits beside the circuit, parts, tokens, weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.known_models import WEAK_PATH
from tests.plugin.conftest import Repository, spec_text

CLAIMS = ("behaves", "sufficient", "necessary", "faithful")


@pytest.fixture
def circuits(repository: Repository) -> dict[str, Any]:
    """The circuits of a record: one that holds, under two ablations, and one that does not."""
    two = spec_text(claims=CLAIMS).replace("ablation: mean", "ablation: [mean, contrast]")
    repository.write("circuits/quote_close.circuit.yaml", two)
    weak = spec_text(name="weak", nodes=WEAK_PATH, claims=("behaves", "sufficient"))
    repository.write("circuits/weak.circuit.yaml", weak)
    repository.gate("--circuits-report=out.json")
    record = json.loads((repository.path / "out.json").read_text())
    return {circuit["name"]: circuit for circuit in record["circuits"]}


def test_the_record_has_what_is_drawn(circuits: dict[str, Any]) -> None:
    claims = {claim["claim"]: claim for claim in circuits["quote_close"]["claims"]}
    measures = claims["sufficient"]["measures"]

    for given, end in zip(claims["sufficient"]["controls"], ("", "_contrast"), strict=True):
        assert given["figure"] == "task loss, nats"
        assert given["under"] == (end[1:] or "mean")
        assert given["limit"] == 0.15
        assert len(given["random"]) == 20
        assert given["random"] == sorted(given["random"])
        middle = sum(given["random"][9:11]) / 2
        assert middle == pytest.approx(measures[f"control_loss{end}"], rel=1e-3)
        as_good = sum(loss <= given["own"] for loss in given["random"])
        assert (as_good + 1) / 21 == pytest.approx(measures[f"control_p{end}"])
    (first, _) = claims["necessary"]["controls"]
    middle = sum(first["random"][9:11]) / 2
    assert middle == pytest.approx(claims["necessary"]["measures"]["control_separation"], rel=1e-3)
    assert claims["behaves"]["controls"] == claims["behaves"]["curves"] == []

    (curve, other) = claims["faithful"]["curves"]
    assert (curve["under"], other["under"], curve["limit"]) == ("mean", "contrast", 0.2)
    assert [share for share, _ in curve["points"]] == [tenth / 10 for tenth in range(1, 11)]
    gap = claims["faithful"]["measures"]["gap_parts"]
    assert max(figure for _, figure in curve["points"]) == pytest.approx(gap, rel=1e-3, abs=1e-6)


def test_a_drawing_has_weights_and_sites_and_a_worst_prompt_its_tokens(
    circuits: dict[str, Any],
) -> None:
    drawing = circuits["quote_close"]["drawing"]
    weights = dict(zip(map(tuple, drawing["edges"]), drawing["weights"], strict=True))
    assert weights["0.attn.act_in[0]", "0.attn.k[0]"] == 2.0
    assert drawing["rows"][0] == {"site": "0.attn.act_in", "layer": 0, "kind": "residual"}
    assert drawing["rows"][-1] == {"site": "final_resid", "layer": None, "kind": "residual"}

    (worst,) = [c["worst"] for c in circuits["weak"]["claims"] if c["claim"] == "sufficient"]
    for asked in worst["prompts"]:
        assert "".join(asked["tokens"]) == asked["prompt"]
