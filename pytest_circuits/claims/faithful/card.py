"""`faithful`: the circuit does the job as the whole model does it, and not just somehow.

Pruning can find nodes that do a task alone and are not what the model does: through ablations that
cancel, norms that grow as the rest shrinks, attention that is bypassed, nodes that change their
role (J. Drori 2026, "Weight-Sparse Circuits May Be Interpretable Yet Unfaithful").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_circuits.circuit.attention import AIMS, aimless_heads, shows_attention
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import CONTROL_PAIRS, EPS, Bench
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    contradiction,
    limits_of,
    median_size,
    preference,
    preferred,
    rate_of,
    runs_of,
)
from pytest_circuits.claims.causes import causes_of_difference
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law, Verdict
from pytest_circuits.claims.faithful.formal import distance_p, equivalence, independence
from pytest_circuits.claims.faithful.internals import DRAWS, SHARES, Inside, look_inside
from pytest_circuits.claims.findings import (
    Finding,
    conclude,
    decided,
    gap_finding,
    law_finding,
    not_finite,
    rate_finding,
    some,
)
from pytest_circuits.claims.parts_of_rest import FRACTIONS, PER_FRACTION, SEARCHED
from pytest_circuits.claims.statistics import Floats, Interval, softplus
from pytest_circuits.model.protocol import Shows, gauges_of
from pytest_circuits.prompts.space import Pair, Prompt
from pytest_circuits.spec.types import FaithfulClaim

FORMAL_PAIRS = 100  # at most: the test of independence costs their square
_SHOWN = 2  # prompts that a sentence names
WORST = "with the worst part found of the rest ablated"


def _violation(pair: Pair, member: int, margins: tuple[Floats, ...]) -> str:
    whole, worst = margins
    return (
        f"with the circuit kept and a part of the rest ablated, the model "
        f"{preference(worst[member], pair, member)}, whole it "
        f"{preference(whole[member], pair, member)}"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    protocol, sample = bench.spec.protocol, bench.sample
    limits = limits_of(bench.spec, FaithfulClaim)
    if not bench.nodes.count:
        return conclude("faithful", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    whole = bench.runner.margins(sample.pairs, WHOLE)
    worst = bench.runner.margins(sample.pairs, bench.worst)
    if broken := not_finite(
        "faithful",
        law,
        whole_model=whole,
        worst_part_ablated=worst,
        parts_ablated=bench.parts_margins,
    ):
        return broken
    inside = look_inside(bench)
    if broken := not_finite(
        "faithful",
        law,
        frozen_norms=inside.frozen[:, None],
        nodes_interchanged=inside.interchanged,
        attention=inside.attention,
    ):
        return broken
    rate, delta = rate_of(bench, "faithful", lambda bench: bench.worst, limits.rate)
    gaps = _gaps(bench, inside)
    gaps["worst"] = sample.mean(softplus(worst) - softplus(whole), protocol.alpha)
    seen = {name: gap for name, gap in gaps.items() if name not in _unseen(bench)}
    findings = [
        rate_finding(rate, what=f"{WORST}, the answer is preferred", alpha=protocol.alpha),
        *_gap_findings(bench, gaps, limits.max_gap),
        _correlation(bench, inside, limits.min_correlation),
        _roles(bench, inside),
        *_attention(bench, inside, limits.max_attention),
        *_disambiguated(bench),
        law_finding(law, margin=bench.margin, typical=median_size(worst), whose="that preference"),
    ]
    measures = {
        **{f"gap_{name}": gap.estimate for name, gap in seen.items()},
        **{f"gap_{name}_upper": gap.upper for name, gap in seen.items()},
        **_attention_distance(bench, inside),
        "correlation": float(inside.correlations.mean()),
        "correlation_least": float(inside.correlations.min()),
        **_formal(bench),
        "delta_to_baseline": delta,
        "disambiguated": float(len(bench.spec.disambiguate)),
        "worst_part": float(bench.worst.nodes.count),
    }
    return conclude("faithful", findings, rate=rate, law=law, measures=measures)


def _gaps(bench: Bench, inside: Inside) -> dict[str, Interval]:
    """How much higher the task loss is than the whole model's, on the pairs of the controls."""
    own = softplus(bench.runner.margins(bench.control_pairs, WHOLE)).mean(axis=1)  # [n]
    parts = softplus(bench.parts_margins).mean(axis=(1, 3))  # [fractions, n]
    return {
        "frozen_norms": bench.control_mean(inside.frozen - own),
        "interchange": _greatest([bench.control_mean(x - own) for x in inside.interchanged]),
        "parts": _greatest([bench.control_mean(x - own) for x in parts]),
    }


def _greatest(intervals: Sequence[Interval]) -> Interval:
    return max(intervals, key=lambda interval: interval.upper)


def _gap_findings(bench: Bench, gaps: dict[str, Interval], most: float) -> list[Finding]:
    alpha = bench.spec.protocol.alpha
    least, last = FRACTIONS[0], FRACTIONS[-1]
    what = {
        "worst": WORST,
        "parts": f"with a random part of the rest ablated, {least:.0%} to {last:.0%} of it",
        "frozen_norms": "with the norm scales of the whole model",
        "interchange": (
            f"with the whole model's values in {SHARES[0]:.0%} to {SHARES[-1]:.0%} of its nodes"
        ),
    }
    whole = dict.fromkeys(what, bench.controls_see_all) | {"worst": bench.sample.exhaustive}
    found = [
        gap_finding(gaps[name], most, what=text, alpha=alpha, exhaustive=whole[name])
        for name, text in what.items()
    ]
    for name in _unseen(bench):
        text = "its norms cannot be given the scales of the whole model: it does not show them"
        found[list(what).index(name)] = Finding(Verdict.INCONCLUSIVE, text)
    return found


def _unseen(bench: Bench) -> tuple[str, ...]:
    """The gap that a model does not show: its norms, unless there is a scale wherever nodes are."""
    layers = {site.layer for site in bench.model.sites.values()}
    shown = {gauge.layer for gauge in gauges_of(bench.model, Shows.SCALE).values()}
    return () if layers <= shown else ("frozen_norms",)


def _attention_distance(bench: Bench, inside: Inside) -> dict[str, float]:
    if not shows_attention(bench.model):
        return {}
    return {"attention_distance": float(inside.attention.mean(axis=1).max(initial=0))}


def _correlation(bench: Bench, inside: Inside, least: float) -> Finding:
    alike = inside.correlations
    mean = float(alike.mean())
    ids = bench.nodes.ids()
    worst = ", ".join(f"{ids[i]} {alike[i]:.2f}" for i in np.argsort(alike, kind="stable")[:3])
    return decided(
        holds=mean >= least,
        sentence="alone, its nodes carry what they carry in the whole model with a mean "
        f"correlation of {mean:.3f} (at least {least:g} needed; least: {worst})",
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
    return Finding(Verdict.FAIL, text)


def _shown_sign(bench: Bench, contrast: Floats, alpha: float) -> int:
    """Sign of a node's mean difference between the cues [n], 0 where it is not sure."""
    interval = bench.control_mean(contrast, alpha)
    return int(interval.lower > 0) - int(interval.upper < 0)


def _attention(bench: Bench, inside: Inside, most: float) -> list[Finding]:
    if not shows_attention(bench.model):
        text = "what its heads attend to cannot be compared: this model does not show it"
        return [Finding(Verdict.INCONCLUSIVE, text)]
    if not inside.heads:
        text = "it keeps no value of a head, so that there is no attention to compare"
        return [Finding(Verdict.PASS, text)]
    findings, aimless = [], aimless_heads(bench.nodes, bench.model)
    for (layer, head), apart, uneven in zip(
        inside.heads, inside.attention, inside.uneven, strict=True
    ):
        interval = bench.control_mean(apart)
        verdict = statistics.at_most(interval, most)
        text = (
            f"head {layer}.{head} attends elsewhere than in the whole model, by a total variation "
            f"of {interval.estimate:.2f} (at most {most:g} allowed)"
        )
        bypassed = len(aimless.get((layer, head), ())) == len(AIMS)
        if bypassed and float(uneven.mean()) > most:
            text += ": its values are kept without its queries and keys"
        if verdict is not Verdict.PASS:
            findings.append(Finding(verdict, text))
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
        return [Finding(Verdict.FAIL, text)]
    if unsure:
        named = some(unsure, _SHOWN, separator="; ")
        text = f"of {seen}, the whole model itself prefers neither token on {named}"
        return [Finding(Verdict.INCONCLUSIVE, text)]
    agreed = Finding(Verdict.PASS, f"circuit and whole model agree on all {seen}")
    return [agreed] if bench.spec.disambiguate else []


def _formal(bench: Bench) -> dict[str, float | None]:
    """The tests of Shi et al. 2024, on one prompt of each of a number of pairs.

    For independence a score is that of one fixed token: a constant preference then tells nothing.
    """
    pairs = bench.sample.few(FORMAL_PAIRS, seed=bench.seed)
    member = bench.random(stream=5).integers(2, size=len(pairs))
    sides, rows = np.where(member == 0, 1.0, -1.0), np.arange(len(pairs))
    views = (WHOLE, bench.circuit, bench.without)
    whole, alone, without = (bench.runner.margins(pairs, view)[rows, member] for view in views)
    wins, p = equivalence(whole, alone, tie=EPS)
    few = [bench.runner.margins(bench.control_pairs, view) for view in views]
    return {
        "formal_equivalence_p": p,
        "formal_equivalence_wins": wins,
        "formal_independence_p": independence(
            whole * sides, without * sides, tie=EPS, seed=bench.seed
        ),
        "formal_necessity_p": distance_p(few[2], bench.controls_without, few[0], far=True),
        "formal_sufficiency_p": distance_p(few[1], bench.controls_alone, few[0], far=False),
    }


def _cost(situation: Situation) -> Cost:
    formal = 2 * min(situation.pairs, FORMAL_PAIRS + CONTROL_PAIRS)
    shared = situation.alone | {
        Shared.WHOLE: situation.prompts,
        Shared.ALONE: formal,
        Shared.WITHOUT: formal,
        Shared.RANDOM_ALONE: situation.controls,
        Shared.WITHOUT_RANDOM: situation.controls,
    }
    agreed = 2 * len(situation.spec.disambiguate)
    beside = 3 + len(SHARES) * DRAWS  # circuits that run beside the whole model, and it
    ablated = situation.prompts + 2 * CONTROL_PAIRS * (len(FRACTIONS) * PER_FRACTION + beside)
    return Cost(shared, ablated + SEARCHED + agreed + situation.near(runs=2))


FAITHFUL = Claim(
    "faithful",
    "the circuit does it as the whole model does, whatever part of the rest is ablated",
    _decide,
    _cost,
    law=LawCard(
        lambda bench: runs_of(
            bench, {"whole model": WHOLE, "worst part of the rest ablated": bench.worst}
        ),
        contradiction,
        _violation,
        causes=lambda bench, pair: causes_of_difference(bench, pair, bench.rest.part(bench.worst)),
    ),
    tier="beyond",
)
