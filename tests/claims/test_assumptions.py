"""What an excluded node becomes is an assumption: claims hold under each one, or say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import parse_spec
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import (
    BIAS_NODE,
    QUOTE_PATH,
    Circuit,
    Weights,
    merged,
    quote_spec,
)

BOTH = "[mean, contrast]"
CLAIMS = ("behaves", "sufficient", "necessary", "faithful", "minimal")
NEEDED: Circuit = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook != "0.attn.q"}
PROTOCOL = "{pairs: 300, search: 10, controls: 59}"


@pytest.mark.parametrize("ablation", [BOTH, "contrast"])
def test_a_true_path_holds_whatever_the_rest_is_worth(bench_of: MakeBench, ablation: str) -> None:
    bench = bench_of(NEEDED, ablation=ablation, claims=CLAIMS, protocol=PROTOCOL)

    found = {claim: run_claim(bench, claim) for claim in CLAIMS}
    if ablation == "contrast":  # what finds the quote is the same in both, and alone shows nothing
        assert "0.attn.act_in[0], 0.attn.k[0]" in found.pop("minimal").reason

    assert {claim: e.reason for claim, e in found.items() if e.verdict is not Verdict.PASS} == {}
    named = ablation.strip("[]").split(", ")
    for claim in ("sufficient", "necessary", "faithful"):
        assert found[claim].under == dict.fromkeys(named, Verdict.PASS)
    assert "the foil is preferred on 100.0 %" in found["necessary"].reason


def test_measures_of_each_ablation_stand_beside_each_other(bench_of: MakeBench) -> None:
    bench = bench_of(NEEDED, ablation=BOTH, protocol=PROTOCOL)

    evidence = run_claim(bench, "sufficient")

    mean, contrast = (evidence.measures[name] for name in ("task_loss", "task_loss_contrast"))
    assert mean is not None
    assert contrast is not None
    assert 0 < mean != contrast > 0
    assert "under mean: the circuit alone prefers" in evidence.reason
    assert "under contrast: the circuit alone prefers" in evidence.reason


def test_nodes_that_never_differ_between_partners_are_named(bench_of: MakeBench) -> None:
    bench = bench_of(merged(NEEDED, BIAS_NODE), ablation=BOTH, protocol=PROTOCOL)

    reason = run_claim(bench, "sufficient").reason

    assert "nothing is shown under contrast of nodes that never differ" in reason
    assert "final_resid[10]" in reason
    assert "final_resid[2]" not in reason


def test_a_counterexample_names_the_ablation_and_shows_the_runs_of_each(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    bench = bench_of(NEEDED, make_model(Weights(weak=1.5)), ablation=BOTH, claims=("necessary",))

    law = run_claim(bench, "necessary").law

    assert law is not None
    assert law.counterexample is not None
    assert "(mean): the prompts of the pair are still told apart" in law.counterexample.violation
    assert {"circuit alone (mean)", "circuit alone (contrast)"} <= set(law.counterexample.margins)


def test_a_law_that_breaks_under_one_ablation_alone_is_assumption_sensitive(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    bench = bench_of(
        NEEDED,
        make_model(Weights(weak=0.05)),
        ablation=BOTH,
        claims=("necessary",),
        protocol="{pairs: 300, search: 10, controls: 59, margin: 0.02}",
    )

    evidence = run_claim(bench, "necessary")

    first = "assumption-sensitive: it holds under contrast and not under mean; "
    assert evidence.reason.startswith(first)
    assert evidence.under == {"mean": Verdict.FAIL, "contrast": Verdict.PASS}


@pytest.mark.parametrize(
    ("prompt", "cues", "problem"),
    [
        (
            "x = {cue}a",
            ("'", "'b"),
            "'x = 'a' do not correspond to those of its partner 'x = 'ba': what differs has no",
        ),
        (
            "{cue} = {cue}a",
            ("'", '""'),
            "and the cue stands in more than one place, so that it is not clear which correspond",
        ),
    ],
    ids=["an insertion", "two places"],
)
def test_pairs_whose_tokens_do_not_correspond_are_refused_with_a_cure(
    prompt: str, cues: tuple[str, str], problem: str
) -> None:
    text = quote_spec(NEEDED, ablation=BOTH)
    contrast = "".join(
        f"      {cue!r}: '{answer}'\n" for cue, answer in zip(cues, "vw", strict=True)
    )
    lines = text.split("  contrast:")[0].splitlines()
    head = [line if "prompt:" not in line else f"  prompt: {prompt!r}" for line in lines]
    slots = [line for line in head if not line.startswith(("  slots", "    "))]
    tail = text[text.index("ablation:") :]
    text = "\n".join(slots) + f"\n  contrast:\n    cue:\n{contrast}{tail}"
    loaded = parse_spec(text, path=Path("q.circuit.yaml"))
    pairs = PromptSpace(loaded.spec.behavior).sample(1, seed=0)

    (found,) = check_prompts(loaded, lambda text: [*map(ord, text)], max_tokens=99, pairs=pairs)

    assert problem in str(found)
    assert "give both cues as many tokens, or leave 'contrast' out of 'ablation'" in str(found)
    assert str(found).startswith("q.circuit.yaml:")
