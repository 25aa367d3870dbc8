"""Prompts on which two rules that both fit the behavior disagree: circuit and model must not."""

from __future__ import annotations

from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import Finding
from pytest_circuits.prompts.space import Prompt

_SHOWN = 2  # prompts that a sentence names


def disambiguated(bench: Bench) -> list[Finding]:
    """Decide whether circuit and whole model agree, prompt by prompt; nothing without prompts."""
    prompts = [Prompt(item.prompt, *item.between) for item in bench.spec.disambiguate]
    if not prompts:
        return []
    apart, unsure = [], []
    for prompt in prompts:
        whole, alone = _margin(bench, prompt, WHOLE), _margin(bench, prompt, bench.plain)
        if not abs(whole) > EPS:
            unsure.append(f"{prompt.text!r}")
        elif not whole * alone > 0 or not abs(alone) > EPS:
            apart.append(f"{prompt.text!r} (whole {_said(whole, prompt)}, {_said(alone, prompt)})")
    seen = f"of {len(prompts)} prompts that tell rules apart"
    if apart:
        text = f"{seen}, circuit and whole model disagree on {len(apart)}: {_some(apart)}"
        return [Finding(Verdict.FAIL, text)]
    if unsure:
        text = f"{seen}, the whole model itself prefers neither token on {_some(unsure)}"
        return [Finding(Verdict.INCONCLUSIVE, text)]
    return [Finding(Verdict.PASS, f"circuit and whole model agree on all {seen[3:]}")]


def _margin(bench: Bench, prompt: Prompt, view: View) -> float:
    first, second = bench.runner.logits(prompt, view)
    return first - second


def _said(margin: float, prompt: Prompt) -> str:
    token = prompt.answer if margin > 0 else prompt.foil
    return f"{token!r} by {abs(margin):.2f} nats"


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
