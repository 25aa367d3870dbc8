"""`necessary`: with only the circuit ablated, the behavior is gone.

Its nodes are ablated, and then its edges alone, with all nodes alive: another path that joins at a
node of the circuit dies with the node, and stays where the edges are cut. Under `contrast` the
preference has to turn: with the circuit, and it alone, at the partner's values the foil is
preferred. There the nodes upstream are asked for by themselves as well, without those that write
the residual stream, where other paths may join.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims import statistics
from pytest_circuits.claims.assumptions import Under, conclude_under
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import Claim, LawCard, Ranked, Run, limits_of, run_of
from pytest_circuits.claims.causes import causes_of_separation
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import (
    WORST_FIRST,
    Cause,
    Evidence,
    Law,
    Rate,
    Verdict,
    percent,
)
from pytest_circuits.claims.findings import (
    Finding,
    conclude,
    controls_of,
    law_finding,
    most_controls,
    not_finite,
    rate_finding,
)
from pytest_circuits.claims.statistics import Bools, Floats, Interval
from pytest_circuits.model.protocol import Wired
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import NecessaryClaim


@dataclass(frozen=True, slots=True)
class _Loss:
    """One way to take the circuit from the model."""

    name: str  # of the measures
    run: str  # how a list of runs calls it
    said: str  # how a sentence begins that tells what is left
    view: View


def _losses(bench: Bench) -> Iterator[_Loss]:
    """The nodes; the edges, where they can be cut; what is upstream, where the flip shows it."""
    turned = bench.runner.ablation.kind.from_partner
    put = "at the partner's values" if turned else "ablated"
    yield _Loss("nodes", "without the circuit", f"with only the circuit {put}", bench.without)
    wired = isinstance(bench.model, Wired)
    if wired:
        text = "carrying the partner's values" if turned else "cut"
        yield _Loss("edges", f"its edges {text}", f"with only its edges {text}", bench.cut)
    if turned or not wired:
        said = f"with only its nodes upstream of what it writes {put}"
        yield _Loss("upstream", "without what is upstream", said, View.without(bench.upstream))


def _runs(bench: Bench) -> tuple[Run, ...]:
    return (
        run_of(bench.runner, WHOLE, name="whole model"),
        *(
            run_of(each.runner, loss.view, name=each.named(loss.run))
            for each in bench.each
            for loss in _losses(each)
        ),
    )


def _excess(margins: tuple[Floats, ...]) -> Floats:
    _, *others = margins
    apart = np.max([_separation(other) for other in others], axis=0)  # [n]
    return np.stack([apart, apart], axis=1)


def _separation(margins: Floats) -> Floats:
    """How far apart the two prompts of a pair are, in nats per prompt: [..., 2] -> [...].

    A constant preference for one of the two tokens adds to one margin what it takes from the
    other, so that a model that always gives the same answer tells nothing apart.
    """
    separation: Floats = margins.mean(axis=-1)
    return separation


def _violation(_pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    _, *others = margins.items()
    name, left = max(others, key=lambda other: float(_separation(other[1])))
    return (
        f"{name}: the prompts of the pair are still told apart, by {_separation(left):.2f} nats "
        f"(answer minus foil {left[member]:.2f} here, {left[1 - member]:.2f} on the other prompt): "
        "another path does the same job"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    if not bench.nodes.count:
        return conclude("necessary", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    whole = bench.runner.margins(bench.sample.pairs, WHOLE)
    left = [
        each.runner.margins(bench.sample.pairs, loss.view)
        for each in bench.each
        for loss in _losses(each)
    ]
    random = [each.controls_without for each in bench.each]
    if broken := not_finite(
        "necessary",
        law,
        whole_model=whole,
        without_the_circuit=np.concatenate(left),
        random_circuits=np.stack(random),
    ):
        return broken
    # A backup path that keeps half of the separation has to be able to break the law.
    typical = float(np.median(_separation(whole))) / 2
    whose = "half of what tells the prompts of a pair apart in the whole model"
    found = law_finding(law, margin=bench.margin, typical=typical, whose=whose)
    return conclude_under(
        "necessary", [_under(each) for each in bench.each], law=law, besides=[found]
    )


def _under(bench: Bench) -> Under:
    """What it finds under the ablation of the bench."""
    limits, alpha = limits_of(bench.spec, NecessaryClaim), bench.spec.protocol.alpha
    turned = bench.runner.ablation.kind.from_partner
    losses = list(_losses(bench))
    pairs = bench.sample.pairs
    rates = [
        _rate(bench, bench.runner.margins(pairs, loss.view), limits, turned=turned)
        for loss in losses
    ]
    what = "the foil is preferred" if turned else "the answer is preferred"
    own = _separation(bench.runner.margins(bench.control_pairs, bench.without)).mean()
    others = _separation(bench.controls_without).mean(axis=1)  # [K]
    p = statistics.control_p(int((others <= own + EPS).sum()), len(others))
    left = _left(bench.controls_without, limits, turned=turned)
    of_rates = [
        rate_finding(rate, what=f"{loss.said} {what}", alpha=alpha)
        for loss, rate in zip(losses, rates, strict=True)
    ]
    of_rates = [
        _with_unlisted(bench, finding) if loss.name == "edges" else finding
        for loss, finding in zip(losses, of_rates, strict=True)
    ]
    worst = min(range(len(rates)), key=lambda place: WORST_FIRST.index(of_rates[place].verdict))
    findings = [
        *of_rates,
        most_controls(
            left,
            f"{int(left.sum())} of {len(left)} random circuits of other nodes can be ablated "
            "without that",
            alpha=alpha,
            failed=": removing any circuit of this size does that, not this one alone",
            undecided=": undecided (a smaller circuit, or more protocol.controls)",
        ),
    ]
    average = bench.sample.average
    measures = {
        "control_left": float(left.mean()),
        "control_p": p,
        "control_separation": float(np.median(others)),
        "delta_to_baseline": _delta(bench, turned=turned),
        "separation_whole": average(bench.runner.margins(bench.sample.pairs, WHOLE)),
    }
    for loss, rate in zip(losses, rates, strict=True):
        end = "" if loss.name == "nodes" else f"_{loss.name}"
        margins = bench.runner.margins(pairs, loss.view)
        measures |= {f"separation{end}": average(margins)}
        measures |= {f"rate_{loss.name}": rate.estimate} if end or worst else {}
    drawn = controls_of("what still tells pairs apart without it, nats", float(own), others)
    return Under(bench.runner.ablation, findings, rates[worst], measures, controls=[drawn])


def _with_unlisted(bench: Bench, finding: Finding) -> Finding:
    """What is found with the edges cut, and whether weights that are not listed are the reason."""
    if bench.edges is None or finding.verdict is Verdict.PASS:
        return finding
    every = View.disconnected(bench.nodes)
    limits, turned = limits_of(bench.spec, NecessaryClaim), bench.runner.ablation.kind.from_partner
    rate = _rate(bench, bench.runner.margins(bench.sample.pairs, every), limits, turned=turned)
    alpha = bench.spec.protocol.alpha
    if rate_finding(rate, what="", alpha=alpha).verdict is not Verdict.PASS:
        return finding
    text = (
        f"; with every weight between its nodes {'turned' if turned else 'cut'} it is so on "
        f"{percent(rate.estimate)}: weights between them that `edges` does not list do it as well. "
        "Search for the circuit again, or leave out `edges`, and every one of them counts as listed"
    )
    return replace(finding, sentence=finding.sentence + text)


def _rate(bench: Bench, margins: Floats, limits: NecessaryClaim, *, turned: bool) -> Rate:
    """How often the answer is kept or, under `contrast`, turned."""
    sample, interval = bench.sample, _interval(bench, margins, turned=turned)
    threshold = limits.min_flip if turned else limits.max_rate
    return sample.against(interval, threshold, at_most=not turned)


def _interval(bench: Bench, margins: Floats, *, turned: bool) -> Interval:
    holds = margins < -EPS if turned else margins > EPS
    return bench.sample.rate(holds, bench.spec.protocol.alpha, at_most=not turned)


def _left(margins: Floats, limits: NecessaryClaim, *, turned: bool) -> Bools:
    """Which random circuits [K] can be ablated without that, from margins [K, n, 2]."""
    if turned:
        flipped: Bools = (margins < -EPS).mean(axis=(1, 2)) < limits.min_flip
        return flipped
    kept: Bools = (margins > EPS).mean(axis=(1, 2)) > limits.max_rate
    return kept


def shown_gone(bench: Bench, margins: Floats) -> bool:
    """Whether margins [n, 2] of the sample without a circuit show what the claim asks for."""
    limits, turned = limits_of(bench.spec, NecessaryClaim), bench.runner.ablation.kind.from_partner
    if float(_separation(margins).max()) >= bench.margin:
        return False
    rate = _rate(bench, margins, limits, turned=turned)
    shown = rate_finding(rate, what="", alpha=bench.spec.protocol.alpha)
    return shown.verdict is Verdict.PASS


def still_there(bench: Bench, margins: Floats) -> bool:
    """Whether margins [n, 2] without a circuit show that the model still has the behavior."""
    limits, alpha = limits_of(bench.spec, NecessaryClaim), bench.spec.protocol.alpha
    if float(_separation(margins).max()) >= bench.margin:
        return True
    one_of_each = margins[np.arange(len(margins)), np.arange(len(margins)) % 2]  # independent
    if bench.runner.ablation.kind.from_partner:
        flips = statistics.rate(one_of_each < -EPS, alpha)
        return statistics.at_least(flips, limits.min_flip) is Verdict.FAIL
    kept = statistics.rate(one_of_each > EPS, alpha)
    return statistics.at_most(kept, limits.max_rate) is Verdict.FAIL


def _delta(bench: Bench, *, turned: bool) -> float | None:
    def measure(bench: Bench, runner: Runner) -> Interval:
        margins = runner.margins(bench.sample.pairs, bench.without)
        return _interval(bench, margins, turned=turned)

    return bench.delta("necessary", measure(bench, bench.runner), measure)


def _causes(bench: Bench, pair: Pair) -> tuple[Cause, ...]:
    """Through what a pair is told apart, where it is most, by the nodes or edges that are left."""
    losses = [(each, loss) for each in bench.each for loss in _losses(each)]
    worst, loss = max(
        losses, key=lambda one: float(_separation(one[0].runner.margins([pair], one[1].view))[0])
    )
    return causes_of_separation(worst, pair, loss.view)


def _cost(situation: Situation) -> Cost:
    controls = situation.spec.protocol.controls
    shared = {
        Shared.WHOLE: situation.prompts,
        **situation.each(Shared.WITHOUT, situation.prompts),
        **situation.each(Shared.WITHOUT_RANDOM, situation.controls, views=controls),
    }
    # Its edges besides, and what is upstream where the preference has to turn.
    more = 1 + any(ablation.kind.from_partner for ablation in situation.spec.ablations)
    near = situation.near(runs=1) + situation.under_each((1 + more) * situation.near(runs=1))
    return Cost(shared, situation.under_each(more * situation.prompts) + near)


def _worst(bench: Bench) -> Ranked:
    runs = _runs(bench)
    apart = _excess(tuple(run.margins(bench.sample.pairs) for run in runs))[:, 0]
    return Ranked("most is left that tells the prompts of a pair apart", bench.sample, apart, runs)


NECESSARY = Claim(
    "necessary",
    "with only the circuit ablated, the preference is gone",
    _decide,
    _cost,
    law=LawCard(_runs, _excess, _violation, causes=_causes),
    tier="core",
    at_most=True,
    worst=_worst,
)
