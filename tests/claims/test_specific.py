"""`specific` holds for a circuit of this behavior, and not for one that everything runs through."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.circuit.text_loss import text_losses
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.errors import SpecError
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import load_spec
from tests.known_models import (
    BRACKET_PATH,
    OTHER,
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    merged,
    quote_spec,
)

CLAIMS = ("sufficient", "necessary", "specific")


def bench(
    folder: Path, model: Model, nodes: Circuit, *, behavior: str = "quote", **options: str
) -> Bench:
    """A circuit of one behavior; the other one lies beside it."""
    there = OTHER[behavior]
    (folder / f"{there}.circuit.yaml").write_text(quote_spec({}, name=there, behavior=there))
    options.setdefault("protocol", "{pairs: 100, search: 10, controls: 19}")
    path = folder / "q.circuit.yaml"
    path.write_text(quote_spec(nodes, behavior=behavior, claims=CLAIMS, **options))
    return make_bench(load_spec(path), model)


@pytest.mark.parametrize(
    ("nodes", "behavior"),
    [(QUOTE_PATH, "quote"), (BRACKET_PATH, "bracket")],
)
def test_the_path_of_one_behavior_leaves_the_other(
    tmp_path: Path, copier: Model, nodes: Circuit, behavior: str
) -> None:
    there = bench(tmp_path, copier, nodes, behavior=behavior)

    evidence = run_claim(there, "specific")

    assert evidence.verdict is Verdict.PASS
    assert f"nats here, that of {OTHER[behavior]} by" in evidence.reason
    assert f"{OTHER[behavior]} ({there.others[0].digest[:12]}) 0.0 %" in evidence.reason
    assert evidence.measures["rate_others"] == 1
    assert evidence.measures["harm"] == pytest.approx(
        0.74 if behavior == "quote" else 0.69, abs=0.05
    )
    assert evidence.measures["harm_others"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("pairs", [100, 300])
def test_general_text_is_read_in_as_many_windows_as_there_are_pairs(
    tmp_path: Path, copier: Model, pairs: int
) -> None:
    protocol = f"{{pairs: {pairs}, search: 10, controls: 19}}"
    there = bench(tmp_path, copier, QUOTE_PATH, protocol=protocol)

    evidence = run_claim(there, "specific")

    losses = {
        windows: text_losses(there.runner, [WHOLE, there.without], windows=windows).mean(axis=1)
        for windows in (100, 300)
    }
    harm = {windows: without - whole for windows, (whole, without) in losses.items()}
    assert evidence.measures["harm_text"] == pytest.approx(harm[pairs], abs=1e-9)
    assert abs(harm[100] - harm[300]) > 1e-6


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_it_holds_whatever_the_seed(tmp_path: Path, copier: Model, name: str) -> None:
    there = bench(tmp_path, copier, QUOTE_PATH, name=name)

    assert run_claim(there, "specific").verdict is Verdict.PASS


def test_a_circuit_that_two_behaviors_need_is_specific_to_neither(
    tmp_path: Path, copier: Model
) -> None:
    both = merged(QUOTE_PATH, BRACKET_PATH)
    there = bench(tmp_path, copier, both, protocol="{pairs: 300, search: 10, controls: 39}")

    evidence = run_claim(there, "specific")

    assert run_claim(there, "sufficient").verdict is Verdict.PASS
    assert run_claim(there, "necessary").verdict is Verdict.PASS
    assert evidence.verdict is Verdict.FAIL
    assert "without the circuit, the rate of bracket" in evidence.reason


def held_against(other: str, folder: Path, model: Model, *, max_drop: str = "0.1") -> Evidence:
    """`specific` of the circuit of both behaviors, beside this specification of the other one."""
    bench(folder, model, merged(QUOTE_PATH, BRACKET_PATH))
    (folder / "bracket.circuit.yaml").write_text(other)
    path = folder / "q.circuit.yaml"
    path.write_text(path.read_text().replace("max_drop: 0.1", f"max_drop: {max_drop}"))
    return run_claim(make_bench(load_spec(path), model), "specific")


@pytest.mark.parametrize(
    ("claim", "needed"), [("behaves", "at least 98.0 %"), ("sufficient", "at least 90.0 %")]
)
def test_a_behavior_that_the_model_does_not_have_cannot_show_it(
    tmp_path: Path, copier: Model, claim: str, needed: str
) -> None:
    other = quote_spec({}, name="bracket", behavior="bracket", claims=(claim,))
    absent = other.replace(": ')'", ": 'alpha'").replace(": ']'", ": 'beta'")

    evidence = held_against(absent, tmp_path, copier)

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "the whole model is not shown to have other behaviors: bracket (" in evidence.reason
    assert f"({needed} needed)" in evidence.reason
    assert evidence.measures["rate_others"] == pytest.approx(0.5, abs=0.1)


def test_a_limit_that_losing_the_behavior_to_chance_would_keep_shows_nothing(
    tmp_path: Path, copier: Model
) -> None:
    other = quote_spec({}, name="bracket", behavior="bracket")

    evidence = held_against(other, tmp_path, copier, max_drop="0.495")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "(more than 99.5 %, chance and max_drop, needed)" in evidence.reason


def test_a_circuit_that_nothing_needs_is_not_specific(tmp_path: Path, copier: Model) -> None:
    evidence = run_claim(bench(tmp_path, copier, WEAK_PATH), "specific")

    assert evidence.verdict is not Verdict.PASS


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ("brackt", "there is no 'brackt.circuit.yaml' beside this file; did you mean 'bracket'?"),
        ("q", "'q' is this circuit itself: it is not another behavior"),
        ("alien", "'alien' is about another model, 'elsewhere'; name behaviors of the same model"),
    ],
)
def test_others_that_cannot_be_used_are_named_at_their_place(
    tmp_path: Path, copier: Model, others: str, problem: str
) -> None:
    (tmp_path / "alien.circuit.yaml").write_text(quote_spec({}, name="alien", model="elsewhere"))
    bench(tmp_path, copier, QUOTE_PATH)
    path = tmp_path / "q.circuit.yaml"
    path.write_text(path.read_text().replace("[bracket]", f"[{others}]"))

    with pytest.raises(SpecError) as caught:
        make_bench(load_spec(path), copier)

    line = path.read_text().splitlines().index(f"  specific: {{others: [{others}], max_drop: 0.1}}")
    assert str(caught.value).splitlines()[0] == f"{path}:{line + 1}:23: {problem}"
