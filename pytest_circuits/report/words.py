"""How claims, verdicts and numbers are put to a person."""

from __future__ import annotations

import math
import os
from pathlib import Path

from pytest_circuits.claims.evidence import Rate, Verdict, percent, prompts_of, shortened
from pytest_circuits.report.run import DELTA, Circuit, Result, State, Waiver
from pytest_circuits.report.safe_text import clean

WAIVED = "waived"
_STATES: dict[str, tuple[str, str]] = {
    Verdict.FAIL: ("does not hold", "do not hold"),
    Verdict.INCONCLUSIVE: ("is not decided", "are not decided"),
    WAIVED: ("is waived", "are waived"),
    State.RECORDED: ("waits for its baseline", "wait for their baselines"),
    State.SKIPPED: ("was skipped", "were skipped"),
    State.ERROR: ("ended in an error", "ended in errors"),
    State.DESELECTED: ("was deselected", "were deselected"),
    State.NOT_RUN: ("did not run", "did not run"),
}
_SHORT: dict[str, str] = {  # where there is room for four letters
    Verdict.INCONCLUSIVE: "?",
    WAIVED: "waiv",
    State.RECORDED: "new",
    State.ERROR: "err",
    State.DESELECTED: "-",
    State.NOT_RUN: "-",
}
_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def colour_of(verdict: Verdict) -> dict[str, bool]:
    return {_COLOURS[verdict]: True, "bold": verdict is not Verdict.PASS}


def state_of(result: Result) -> str:
    """The verdict of a claim that ran, unless it is waived; of any other, what happened to it."""
    if result.waived:
        return WAIVED
    return result.verdict.value if result.state is State.RAN else result.state.value


def short_state_of(result: Result | None) -> str:
    """The same in four letters, for a cell; a dot for a claim that is not made."""
    if result is None:
        return "."
    state = state_of(result)
    return _SHORT.get(state, state[:4])


def why(result: Result) -> str:
    """Why it does not pass, in a few words; empty for a pass."""
    if result.verdict is Verdict.PASS:
        return ""
    evidence = result.evidence
    is_decided = result.state is State.RAN and evidence.why
    return evidence.why if is_decided else shortened(evidence.reason)


def waived(waiver: Waiver) -> str:
    """Until when a claim may stand that does not pass, and why."""
    return f"waived until {waiver.until}: {clean(waiver.reason)}"


def plainly(state: str, *, many: bool) -> str:
    """A verdict or state as it stands in a sentence."""
    one, several = _STATES.get(state, (state, state))
    return several if many else one


def several(number: int, noun: str) -> str:
    """A number of things: `1 claim`, `2 claims`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown_path(path: Path, *, folder: Path) -> str:
    """An absolute path as it is opened from a folder, in the shorter form where it is elsewhere."""
    relative, absolute = os.path.relpath(path, folder), str(path)
    return absolute if relative.startswith("..") and len(relative) > len(absolute) else relative


def compared_with(circuit: Circuit) -> str:
    """Which model a circuit was compared with; empty where there is no baseline."""
    baseline = circuit.baseline
    if baseline is None:
        return ""
    path, digest = clean(baseline.path), baseline.model_digest[:12]
    if baseline.recorded:
        same = "this very model" if circuit.is_its_baseline else f"the model {digest}"
        return f"{path}, recorded from {same}"
    return f"{path} ({digest}){', the candidate itself' if circuit.is_its_baseline else ''}"


def share(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else percent(value)


def observed(rate: Rate | None, *, ascii_only: bool = False) -> str:
    """The rate that was seen, and how far it can be trusted on the side that matters."""
    if rate is None:
        return "-"
    if rate.exhaustive:
        return share(rate.estimate)
    trusted = rate.upper if rate.at_most else rate.lower
    return f"{share(rate.estimate)} ({_relation(rate, ascii_only=ascii_only)} {share(trusted)})"


def bound(rate: Rate | None, *, ascii_only: bool = False) -> str:
    if rate is None:
        return "-"
    return f"{_relation(rate, ascii_only=ascii_only)} {share(rate.threshold)}"


def count(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    count = "whole space" if rate.exhaustive else str(rate.n)
    return f"{count} of {clean(rate.group)}" if rate.group else count


def prompts(rate: Rate) -> str:
    """How many prompts a rate is of, in a sentence, and of which group."""
    where = f"all {rate.n} prompts (the whole space)" if rate.exhaustive else prompts_of(rate)
    return f"{where}, worst at {clean(rate.group)}" if rate.group else where


def measured(result: Result, *, ascii_only: bool = False) -> tuple[str, str, str, str]:
    """What tables say of a claim: its rate, the bound, the prompts, how far it is from before."""
    rate, delta = result.evidence.rate, result.evidence.measures.get(DELTA)
    found = (observed(rate, ascii_only=ascii_only), bound(rate, ascii_only=ascii_only))
    return (*found, count(rate), points(delta))


def points(value: float | None) -> str:
    """A difference of shares, in percentage points."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{100 * value:+.1f}" if round(100 * value, 1) else "0.0"


def _relation(rate: Rate, *, ascii_only: bool) -> str:
    if ascii_only:
        return "<=" if rate.at_most else ">="
    return "≤" if rate.at_most else "≥"
