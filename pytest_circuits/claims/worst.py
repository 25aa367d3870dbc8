"""The prompts that went worst for a claim that does not pass: a rate alone does not say which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pytest_circuits.circuit.sent_on import sent_on
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.card import Claim, Ranked, Run
from pytest_circuits.claims.evidence import Asked, Evidence, Seen, Verdict, Worst, rounded
from pytest_circuits.claims.sample import draw_changes
from pytest_circuits.prompts.space import Pair, Prompt

MOST = 3


def with_worst(bench: Bench, claim: Claim, evidence: Evidence) -> Evidence:
    """The evidence with its worst prompts, unless it passes or has them."""
    is_empty = claim.needs_nodes and not bench.nodes.count
    if evidence.worst:
        return replace(evidence, worst=_with_tokens(bench, evidence.worst))
    if evidence.verdict is Verdict.PASS or is_empty:
        return evidence
    ranked = claim.worst(bench) if claim.worst else _by_law(bench, claim)
    if ranked is None:
        return evidence
    group = evidence.rate.group if evidence.rate else ""
    return replace(evidence, worst=_with_tokens(bench, worst_of(ranked, group=group)))


def _with_tokens(bench: Bench, worst: Worst) -> Worst:
    """The same prompts with their tokens, and what each of these sends on."""
    found = []
    for asked in worst.prompts:
        prompt = Prompt(asked.prompt, asked.answer, asked.foil)
        tokens, sent = bench.runner.tokens(prompt), sent_of(bench, prompt)
        found.append(replace(asked, tokens=tokens, sent=sent))
    return replace(worst, prompts=tuple(found))


def sent_of(bench: Bench, prompt: Prompt) -> tuple[float, ...]:
    """What each token of a prompt sends on, in nats; empty where that is not known."""
    found = sent_on(bench.runner, prompt)
    if found is None or not np.isfinite(found).all():
        return ()
    return tuple(rounded(float(nats)) for nats in found)


def worst_of(ranked: Ranked, *, group: str = "") -> Worst:
    """The worst few of these prompts, of those that a rate of the group counts."""
    pairs, of_pairs = ranked.sample.pairs, ranked.badness.ndim == 1
    badness = ranked.badness[:, None] if of_pairs else ranked.badness
    margins = np.stack([run.margins(pairs) for run in ranked.runs])  # [runs, n, 2]
    badness = np.where(np.isfinite(margins).all(axis=0), badness, np.inf)
    counted = np.argwhere(ranked.sample.counted(group=group, each_once=of_pairs))
    order = np.argsort(-badness[tuple(counted.T)], kind="stable")
    found: dict[tuple[Pair, int], None] = {}
    for row, member in counted[order]:
        found[pairs[row], int(member)] = None
        if len(found) == MOST:
            break
    return Worst(ranked.where, tuple(_asked(ranked.runs, *each) for each in found))


def _asked(runs: Iterable[Run], pair: Pair, member: int) -> Asked:
    prompt, partner = (pair.first, pair.second)[:: 1 - 2 * member]
    seen = tuple(_seen(run, pair, member) for run in runs)
    return Asked(prompt.text, prompt.answer, prompt.foil, partner.text, seen)


def _seen(run: Run, pair: Pair, member: int) -> Seen:
    prompt = (pair.first, pair.second)[member]
    logits = run.logits(prompt) if run.logits else (np.nan, np.nan)
    values = (*logits, run.margins([pair])[0, member])
    return Seen(run.name, *(float(value) if np.isfinite(value) else None for value in values))


def _by_law(bench: Bench, claim: Claim) -> Ranked | None:
    """By how far each prompt goes towards breaking the law; None where there is none to break."""
    if claim.law is None or not (runs := claim.law.runs(bench)):
        return None
    changes, sample = claim.law.changes, bench.sample
    if changes is not None:
        sample = draw_changes(changes(bench), sample, seed=bench.seed)
    excess = claim.law.excess(tuple(run.margins(sample.pairs) for run in runs))
    return Ranked("they go furthest towards breaking the law", sample, excess, runs)
