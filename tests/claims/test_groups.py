"""Several templates and several contrasts: a claim is decided for each, and the worst counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline_file import (
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.report.record import evidence_to_json
from pytest_circuits.spec.load import parse_spec
from tests.claims.conftest import QUICK
from tests.known_models import QUOTE_PATH, quote_spec

ONE = '  prompt: "{name} = {cue}{words}"\n'
LISTED = '  prompt: ["{name} = {cue}{words}"]\n'
# The head looks for quotes: two more of one kind outvote the one that opens the string.
PLAIN, ALIKE, OUTVOTED = "{name} = {cue}{words}", "{words} = {cue}{name}", '{name} = ""{cue}{words}'
MORE_CUES = '      "\'": "\'"\n      "x\'": "\'"\n'
CLAIMS = ("behaves", "sufficient", "necessary", "stable", "blind", "depends_on")


def bench_of(
    model: SparseModel, prompt: str, folder: Path, *, cues: str = "", ablation: str = "mean"
) -> Bench:
    text = quote_spec(QUOTE_PATH, claims=CLAIMS, protocol=QUICK, ablation=ablation)
    text = text.replace(ONE, prompt)
    if cues:
        text = text.replace('      "\'": "\'"\n', cues)
    return make_bench(parse_spec(text, path=folder / "q.circuit.yaml"), model)


def named(**templates: str) -> str:
    lines = "".join(f"    {name}: '{text}'\n" for name, text in templates.items())
    return f"  prompt:\n{lines}"


def rates(evidence: Evidence) -> dict[str, float | None]:
    return {name: x for name, x in evidence.measures.items() if name.startswith("rate_at_")}


def test_one_template_is_the_same_with_and_without_a_list(
    copier: SparseModel, tmp_path: Path
) -> None:
    text, listed = (bench_of(copier, prompt, tmp_path) for prompt in (ONE, LISTED))

    assert text.loaded.digest == listed.loaded.digest
    assert text.sample.pairs == listed.sample.pairs
    assert text.searched_pairs == listed.searched_pairs
    for claim in ("behaves", "sufficient", "blind"):
        found = [evidence_to_json(run_claim(bench, claim)) for bench in (text, listed)]
        assert found[0] == found[1]
        assert "group" not in found[0]["rate"]
        assert "worst at" not in found[0]["reason"]


@pytest.mark.parametrize("claim", ["behaves", "sufficient"])
def test_the_worst_template_decides_and_is_named(
    copier: SparseModel, tmp_path: Path, claim: str
) -> None:
    bench = bench_of(copier, named(plain=PLAIN, outvoted=OUTVOTED), tmp_path)

    evidence = run_claim(bench, claim)

    assert evidence.verdict is Verdict.FAIL
    assert evidence.rate is not None
    assert evidence.rate.group == "template 'outvoted'"
    assert evidence.rate.n == 300
    assert ", worst at template 'outvoted' (" in evidence.reason
    assert rates(evidence) == {"rate_at_plain": 1, "rate_at_outvoted": evidence.rate.estimate}
    assert evidence.rate.estimate < 0.6


def test_the_search_is_over_every_template(copier: SparseModel, tmp_path: Path) -> None:
    bench = bench_of(copier, named(plain=PLAIN, outvoted=OUTVOTED), tmp_path)

    law = run_claim(bench, "behaves").law

    assert len(bench.searched_pairs) > bench.spec.protocol.search
    assert law is not None
    assert law.counterexample is not None
    assert law.counterexample.prompt == 'x = ""\'alpha'


def test_the_order_of_templates_changes_nothing(copier: SparseModel, tmp_path: Path) -> None:
    one = bench_of(copier, named(plain=PLAIN, outvoted=OUTVOTED), tmp_path)
    other = bench_of(copier, named(outvoted=OUTVOTED, plain=PLAIN), tmp_path)

    assert one.loaded.digest == other.loaded.digest
    assert run_claim(one, "behaves") == run_claim(other, "behaves")


def test_a_circuit_that_is_right_on_every_template_passes(
    copier: SparseModel, tmp_path: Path
) -> None:
    bench = bench_of(copier, named(plain=PLAIN, alike=ALIKE), tmp_path)
    write_baseline(tmp_path / "b.yaml", record_baseline(bench, []))
    again = make_bench(bench.loaded, copier, baseline=read_baseline(tmp_path / "b.yaml"))

    found = [run_claim(again, claim) for claim in CLAIMS if claim != "blind"]

    assert {evidence.claim: evidence.verdict for evidence in found} == dict.fromkeys(
        ("behaves", "sufficient", "necessary", "stable", "depends_on"), Verdict.PASS
    )
    assert {evidence.rate.group for evidence in found if evidence.rate} <= {
        "template 'plain'",
        "template 'alike'",
    }


def test_changes_of_a_slot_are_of_the_templates_that_have_it(
    copier: SparseModel, tmp_path: Path
) -> None:
    prompt = named(plain=PLAIN, short="value = {cue}{words}", alike=ALIKE)
    bench = bench_of(copier, prompt, tmp_path)

    evidence = run_claim(bench, "blind")

    assert set(rates(evidence)) == {"rate_at_plain", "rate_at_alike"}
    assert {group.template for group in bench.changes("name").groups} == {"plain", "alike"}


def test_every_few_pairs_are_of_every_template(copier: SparseModel, tmp_path: Path) -> None:
    bench = bench_of(copier, named(plain=PLAIN, alike=ALIKE, outvoted=OUTVOTED), tmp_path)
    sample = bench.sample

    assert len(sample.pairs) == 3 * 300
    for few in (
        sample.few(6, seed=1),
        sample.few_by_weight(6, seed=1),
        sample.shortened(2).pairs,
        bench.space.sample(6, seed=1),
    ):
        places = [bench.space.locate(pair) for pair in few]
        found = [place[0].template for place in places if place]
        assert found == ["alike", "plain", "outvoted"] * 2


def test_each_contrast_is_decided(copier: SparseModel, tmp_path: Path) -> None:
    bench = bench_of(copier, ONE, tmp_path, cues=MORE_CUES, ablation="[mean, contrast]")

    evidence, *others = (run_claim(bench, claim) for claim in ("behaves", "sufficient"))

    assert {found.verdict for found in (evidence, *others)} == {Verdict.PASS}
    assert rates(evidence) == {"rate_at_\"/'": 1, "rate_at_\"/x'": 1}
    assert evidence.rate is not None
    assert evidence.rate.group == "'\"' against '''"
