"""The law of a claim: Hypothesis looks for the one prompt that breaks it, and shrinks it.

The search never decides a rate: Hypothesis draws unevenly on purpose. Its stream depends on the
specification alone, so that all claims of a circuit try the same prompts and share their forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps

import numpy as np
from hypothesis import Phase, example, given
from hypothesis.strategies import SearchStrategy

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.card import Claim, LawCard, Run, run_of
from pytest_circuits.claims.evidence import Counterexample, Evidence, Law, Verdict
from pytest_circuits.claims.findings import Finding, conclude
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.search import climb, configured
from pytest_circuits.claims.statistics import Bools, Floats
from pytest_circuits.claims.worst import sent_of, with_worst
from pytest_circuits.model.arithmetic import own_arithmetic_for
from pytest_circuits.prompts.space import Pair, Prompt, prompts_of
from pytest_circuits.spec.ablations import Ablation


class LawBroken(AssertionError):  # noqa: N818  (it is a finding, not an error)
    def __init__(self, counterexample: Counterexample) -> None:
        super().__init__(f"{counterexample.prompt!r}: {counterexample.violation}")
        self.counterexample = counterexample


def given_test(bench: Bench, claim_name: str, nodeid: str = "") -> Callable[[], None]:
    """The search as a test: a Hypothesis test of one claim, or one that passes if none is needed.

    It raises LawBroken with the smallest prompt that was found. The specification's regressions
    run first. `nodeid` becomes the name of the test.

    What the search is going to try is evaluated ahead, in large batches. Where nothing of it breaks
    the law, a search would draw the same pairs, and Hypothesis has nothing to find and to shrink.
    Where something does, it counts, whether Hypothesis comes by it again or not.
    """
    card = CLAIMS[claim_name].law
    if card is None or not card.searchable(bench):
        return _no_search
    tried = bench.tried.setdefault(claim_name, set())
    search = searching(bench, card, tried, name=nodeid or claim_name)

    @wraps(search)
    def test() -> None:
        ahead = _ahead(bench, card)
        if breaks(bench, card, ahead).any():
            search()
            check(bench, card, ahead)
        tried.update(ahead)

    return test


def searching(bench: Bench, card: LawCard, tried: set[Pair], *, name: str) -> Callable[[], None]:
    """The search as Hypothesis does it; what it tries is added to a set."""

    def law(pair: Pair) -> None:
        tried.add(pair)
        check(bench, card, [pair])

    law.__qualname__ = name
    test = given(pair=_strategy(bench, card))(law)
    for text, pair in reversed(_regressions(bench, card)):
        test = example(pair=pair).via(f"regression {text!r}")(test)
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    return configured(test, search=bench.search, start=bench.search_start, phases=phases)


def _ahead(bench: Bench, card: LawCard) -> list[Pair]:
    """What a search tries that finds nothing: regressions, then its stream.

    Or all that there is, where the space is run whole.
    """
    if card.changes:
        stream = bench.stream(_strategy(bench, card))
    else:
        stream = bench.sample.pairs if bench.sample.exhaustive else bench.searched_pairs
    return [*(pair for _, pair in _regressions(bench, card)), *stream]


def run_claim(bench: Bench, claim_name: str) -> Evidence:
    """Put one claim to the test without pytest: search, then decide."""
    with own_arithmetic_for(bench.model):
        try:
            given_test(bench, claim_name)()
        except LawBroken as broken:
            return finish(bench, claim_name, broken.counterexample)
        return finish(bench, claim_name, None)


def finish(bench: Bench, claim_name: str, found: Counterexample | None) -> Evidence:
    """Evidence of a claim after its search, which found this counterexample or none.

    Where it found none, the law is held against every prompt of the rate as well, and against
    prompts near those that come closest to breaking it. A search that was kept from running is not
    a pass.
    """
    claim = CLAIMS[claim_name]
    decided = _decided(bench, claim, claim.law, found) if claim.law else claim.decide(bench, Law(0))
    return with_worst(bench, claim, decided)


def _decided(bench: Bench, claim: Claim, card: LawCard, found: Counterexample | None) -> Evidence:
    scanned, tried = card.scanned(bench), bench.tried.get(claim.name, set())
    climbed: tuple[Pair, ...] = ()
    if found is None:
        found = _broken(bench, card, scanned)
    if found is None and tried:
        climbed = _climbed(bench, card)
        found = _broken(bench, card, climbed)
    if found is None and card.searchable(bench) and not tried:
        sentence = "the search for a counterexample did not run (-p no:python, a conftest.py?)"
        found_nothing = Finding(Verdict.INCONCLUSIVE, sentence, "the search did not run")
        return conclude(claim.name, [found_nothing])
    searched = 2 * len({*scanned, *tried, *climbed})
    evidence = claim.decide(bench, Law(searched, found and _explained(bench, card, found)))
    return _with_margin(bench, card, evidence)


def _with_margin(bench: Bench, card: LawCard, evidence: Evidence) -> Evidence:
    """Say which margin the law had, where it is no number of the specification.

    Evidence without measures is none that a waiver may cover, and stays so.
    """
    is_used = evidence.measures and card.margin(bench) == bench.margin
    if bench.spec.protocol.margin is not None or not is_used:
        return evidence
    return replace(evidence, measures={**evidence.measures, "margin": bench.margin})


def _broken(bench: Bench, card: LawCard, pairs: Sequence[Pair]) -> Counterexample | None:
    if not pairs:
        return None
    try:
        check(bench, card, pairs)
    except LawBroken as broken:
        return broken.counterexample
    return None


def _climbed(bench: Bench, card: LawCard) -> tuple[Pair, ...]:
    """Pairs near those that come closest to breaking a law; none where the space is run whole."""
    if bench.sample.exhaustive or card.changes:
        return ()

    def excess(pairs: Sequence[Pair]) -> Floats:
        found = card.excess(tuple(run.margins(pairs) for run in card.runs(bench)))
        highest: Floats = np.nan_to_num(found.max(axis=1), nan=np.inf, neginf=-np.inf)
        return highest

    return climb(
        bench.space,
        tuple(dict.fromkeys((*bench.searched_pairs, *bench.sample.pairs))),
        excess,
        tries=bench.search,
        seed=bench.search_start,
    )


def check(bench: Bench, card: LawCard, pairs: Sequence[Pair]) -> None:
    """Raise LawBroken with the smallest of these pairs that breaks a law."""
    broken = breaks(bench, card, pairs)  # [n, 2]
    if broken.any():
        found = [(pairs[row], int(member)) for row, member in np.argwhere(broken)]
        raise LawBroken(counterexample(bench, card, *min(found, key=_size)))


def breaks(
    bench: Bench, card: LawCard, pairs: Sequence[Pair], under: Ablation | None = None
) -> Bools:
    """Which members of which pairs break a law, [n, 2]; what is not finite does.

    under: the one ablation of whose runs it is asked; None: of all of them.
    """
    shown = [
        run for run in card.runs(bench) if None in (under, run.ablation) or run.ablation is under
    ]
    runs = tuple(run.margins(pairs) for run in shown)
    broken = ~np.isfinite(np.stack(runs)).all(axis=0)
    with np.errstate(invalid="ignore"):
        return broken | (card.excess(runs) >= card.margin(bench))


def counterexample(bench: Bench, card: LawCard, pair: Pair, member: int) -> Counterexample:
    prompt, partner = _member(pair, member), _member(pair, 1 - member)
    runs = card.runs(bench)
    margins = {run.name: run.margins([pair])[0] for run in runs}  # each [2]
    finite = all(np.isfinite(margin).all() for margin in margins.values())
    return Counterexample(
        prompt=prompt.text,
        answer=prompt.answer,
        foil=prompt.foil,
        partner=partner.text,
        tokens=bench.runner.tokens(prompt),
        margins={name: _finite(margin[member]) for name, margin in margins.items()},
        logits={
            run.name: _finite_logits(run.logits(prompt)) for run in runs if run.logits is not None
        },
        violation=(
            card.violation(pair, member, margins) if finite else "its logits are not numbers"
        ),
    )


def _explained(bench: Bench, card: LawCard, found: Counterexample) -> Counterexample:
    """The same with what the law did not need: the logits of other runs, and what accounts for it.

    Only the one prompt that is shown is worth this.
    """
    of_pair = card.changes is None
    prompt = Prompt(found.prompt, found.answer, found.foil, found.partner)
    if not of_pair:
        prompt = replace(prompt, partner=_other_cue(bench, prompt))
    logits, margins = dict(found.logits), dict(found.margins)
    for run in _shown(bench):
        if run.name not in margins and run.logits is not None:
            answer, foil = run.logits(prompt)
            margins[run.name] = _finite(answer - foil)
            logits[run.name] = _finite_logits((answer, foil))
    finite = None not in found.margins.values()
    partner = Prompt(found.partner, found.foil, found.answer, found.prompt if of_pair else "")
    pair = Pair(prompt, partner)
    return replace(
        found,
        margins=margins,
        logits=logits,
        causes=card.causes(bench, pair) if finite else (),
        runs=tuple(margins),
        under=_breaking(bench, card, pair) if of_pair else (),
        sent=sent_of(bench, prompt),
    )


def _breaking(bench: Bench, card: LawCard, pair: Pair) -> tuple[str, ...]:
    """The ablations under each of which the first member of a pair breaks a law."""
    shown = dict.fromkeys(run.ablation for run in card.runs(bench) if run.ablation)
    return tuple(a.value for a in shown if breaks(bench, card, [pair], under=a)[0, 0])


def _shown(bench: Bench) -> Iterator[Run]:
    """The runs that are shown of a counterexample, whichever of them the law needed."""
    yield run_of(bench.runner, WHOLE, name="whole model")
    for each in bench.each if bench.nodes.count else ():
        for name, view in ((each.alone, each.circuit), ("without the circuit", each.without)):
            yield run_of(each.runner, view, name=each.named(name))


def _other_cue(bench: Bench, prompt: Prompt) -> str:
    """The other prompt of the contrast pair of a prompt; empty if it is in none."""
    alike = (p for p in prompts_of(bench.space.parse(prompt.text)) if p.text == prompt.text)
    return next((p.partner for p in alike if p.foil == prompt.foil), "")


def _no_search() -> None:
    """The claim has no law for prompts that could be searched: what there is to see, is seen."""


def _strategy(bench: Bench, card: LawCard) -> SearchStrategy[Pair]:
    return card.changes(bench).strategy() if card.changes else bench.space.strategy()


def _regressions(bench: Bench, card: LawCard) -> list[tuple[str, Pair]]:
    """The prompts that once broke a law; the loader has refused those that do not fit."""
    texts = bench.spec.regressions
    if card.changes:
        return [(text, change) for text in texts for change in card.changes(bench).of(text)]
    return [(text, pair) for text in texts for pair in bench.space.parse(text)]


def _member(pair: Pair, member: int) -> Prompt:
    return (pair.first, pair.second)[member]


def _size(entry: tuple[Pair, int]) -> tuple[int, str]:
    text = _member(*entry).text
    return len(text), text


def _finite_logits(logits: tuple[float, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in zip(("answer", "foil"), logits, strict=True)}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
