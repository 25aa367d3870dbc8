"""What is found as the circuit runs beside the whole model: norms, nodes, roles, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_circuits.circuit.attention import AIMS, aimless_heads, shows_attention
from pytest_circuits.circuit.inside import SHARES
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import preferred
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.faithful.internals import Inside
from pytest_circuits.claims.findings import Finding, decided, gap_finding, some
from pytest_circuits.claims.statistics import GAPS, Bools, Floats, Interval, softplus
from pytest_circuits.model.protocol import Shows, gauges_of
from pytest_circuits.prompts.space import Prompt
from pytest_circuits.spec.types import FaithfulClaim

CHANCE = 0.5
_SHOWN = 2  # prompts that a sentence names


def beside_findings(bench: Bench, inside: Inside, limits: FaithfulClaim) -> list[Finding]:
    """Decide all that is seen beside the whole model."""
    return [
        *_gap_findings(bench, gaps_beside(bench, inside), limits.max_gap),
        _correlation(bench, inside, limits.min_correlation),
        _roles(bench, inside),
        *_attention(bench, inside, limits.max_attention),
        *_disambiguated(bench),
    ]


def gaps_beside(bench: Bench, inside: Inside) -> dict[str, Interval]:
    """How much higher the task loss is as the circuit alone is brought nearer to the model."""
    own = softplus(bench.runner.margins(bench.gap_pairs, WHOLE)).mean(axis=1)  # [n]
    return {
        "frozen_norms": bench.gap_mean(inside.frozen - own, GAPS),
        "interchange": greatest([bench.gap_mean(x - own, GAPS) for x in inside.interchanged]),
    }


def greatest(intervals: Sequence[Interval]) -> Interval:
    return max(intervals, key=lambda interval: interval.upper)


def _gap_findings(bench: Bench, gaps: Mapping[str, Interval], most: float) -> list[Finding]:
    what = {
        "frozen_norms": "with the norm scales of the whole model",
        "interchange": (
            f"with the whole model's values in {SHARES[0]:.0%} to {SHARES[-1]:.0%} of its nodes"
        ),
    }
    alpha, exhaustive = bench.spec.protocol.alpha, bench.gaps_see_all
    hidden = "its norms cannot be given the scales of the whole model: it does not show them"
    return [
        Finding(Verdict.INCONCLUSIVE, hidden, "the model does not show its norms")
        if name in unseen(bench)
        else gap_finding(gaps[name], most, what=text, alpha=alpha, exhaustive=exhaustive)
        for name, text in what.items()
    ]


def unseen(bench: Bench) -> tuple[str, ...]:
    """The gap that a model does not show: its norms, unless there is a scale wherever nodes are."""
    layers = {site.layer for site in bench.model.sites.values()}
    shown = {gauge.layer for gauge in gauges_of(bench.model, Shows.SCALE).values()}
    return () if layers <= shown else ("frozen_norms",)


def attention_distance(bench: Bench, inside: Inside) -> dict[str, float]:
    if not shows_attention(bench.model):
        return {}
    return {"attention_distance": float(inside.attention.mean(axis=1).max(initial=0))}


def _correlation(bench: Bench, inside: Inside, least: float) -> Finding:
    lost = inside.weights * (1 - inside.correlations)
    ids = bench.nodes.ids()
    worst = ", ".join(
        f"{ids[i]} {inside.correlations[i]:.2f}" for i in np.argsort(-lost, kind="stable")[:3]
    )
    return decided(
        holds=inside.correlation >= least,
        sentence="alone, its nodes carry beyond their ablated values what they carry in the whole "
        f"model with a mean correlation of {inside.correlation:.3f}, weighted by their effects "
        f"(at least {least:g} needed; most is lost at {worst})",
        why="its nodes carry something else alone",
    )


def _roles(bench: Bench, inside: Inside) -> Finding:
    """Nodes that tell the two cues apart the other way round than in the whole model."""
    alpha = bench.spec.protocol.alpha / max(1, 2 * bench.nodes.count)
    turned = [
        node
        for node, (whole, alone) in zip(
            bench.nodes.ids(), inside.contrasts.swapaxes(0, 1), strict=True
        )
        if _shown_sign(bench, whole, alpha) * _shown_sign(bench, alone, alpha) < 0
    ]
    if not turned:
        return Finding(Verdict.PASS, "no node changes its role")
    text = f"nodes that answer to the cue the other way round than whole: {some(turned, 3)}"
    return Finding(Verdict.FAIL, text, "nodes change their role")


def _shown_sign(bench: Bench, contrast: Floats, alpha: float) -> int:
    """Sign of most of a node's differences between the cues [n], 0 where it is not sure."""
    shares = [_share(bench, found, alpha) for found in (contrast > 0, contrast < 0)]
    return int(shares[0].lower > CHANCE) - int(shares[1].lower > CHANCE)


def _share(bench: Bench, found: Bools, alpha: float) -> Interval:
    if bench.gaps_see_all:
        return statistics.whole(found.astype(np.float64), bench.sample.weights)
    return statistics.rate(found, alpha)


def _attention(bench: Bench, inside: Inside, most: float) -> list[Finding]:
    if not shows_attention(bench.model):
        text = "what its heads attend to cannot be compared: this model does not show it"
        return [Finding(Verdict.INCONCLUSIVE, text, "the model does not show its attention")]
    if not inside.heads:
        text = "it keeps no value of a head, so that there is no attention to compare"
        return [Finding(Verdict.PASS, text)]
    findings, aimless = [], aimless_heads(bench.nodes, bench.model)
    for (layer, head), apart, uneven in zip(
        inside.heads, inside.attention, inside.uneven, strict=True
    ):
        interval = bench.gap_mean(apart, statistics.SHARES)
        verdict = statistics.at_most(interval, most)
        text = (
            f"head {layer}.{head} attends elsewhere than in the whole model, by a total variation "
            f"of {interval.estimate:.2f} (at most {most:g} allowed)"
        )
        bypassed = len(aimless.get((layer, head), ())) == len(AIMS)
        if bypassed and float(uneven.mean()) > most:
            text += ": its values are kept without its queries and keys"
        if verdict is not Verdict.PASS:
            findings.append(Finding(verdict, text, f"head {layer}.{head} attends elsewhere"))
    return findings or [Finding(Verdict.PASS, "its heads attend as in the whole model")]


def _disambiguated(bench: Bench) -> list[Finding]:
    """Decide whether circuit and whole model agree where two rules that fit the behavior do not."""
    apart, unsure = [], []
    for item in bench.spec.disambiguate:
        prompt = Prompt(item.prompt, *item.between)
        logits = (bench.runner.logits(prompt, view) for view in (WHOLE, bench.plain))
        whole, alone = (first - second for first, second in logits)
        if not abs(whole) > EPS:
            unsure.append(f"{prompt.text!r}")
        elif not whole * alone > 0 or not abs(alone) > EPS:
            said = f"whole {preferred(whole, prompt)}, {preferred(alone, prompt)}"
            apart.append(f"{prompt.text!r} ({said})")
    seen = f"{len(bench.spec.disambiguate)} prompts that tell rules apart"
    if apart:
        named = some(apart, _SHOWN, separator="; ")
        text = f"of {seen}, circuit and whole model disagree on {len(apart)}: {named}"
        return [Finding(Verdict.FAIL, text, "circuit and model follow different rules")]
    if unsure:
        named = some(unsure, _SHOWN, separator="; ")
        text = f"of {seen}, the whole model itself prefers neither token on {named}"
        return [Finding(Verdict.INCONCLUSIVE, text, "the model itself prefers neither token")]
    agreed = Finding(Verdict.PASS, f"circuit and whole model agree on all {seen}")
    return [agreed] if bench.spec.disambiguate else []
