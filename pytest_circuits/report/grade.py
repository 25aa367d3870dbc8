"""How much is shown about a circuit: one word, and the line that says why.

A specification that declares little passes easily. Its grade says so, in every report of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.report.run import Circuit, Run
from pytest_circuits.report.safe_text import clean
from pytest_circuits.spec.ablations import Ablation

LEAST = 2  # ablations: what holds under one may be an artefact of it
ATTENTION = "faithful"  # the claim that holds the attention of heads to the whole model's
_SHORT = 40  # characters of a reason that the line of a grade holds


class Level(StrEnum):
    """The grades, from the worst to the best."""

    REFUTED = "refuted"
    UNDECIDED = "undecided"
    BEHAVIOR = "behavior"
    PARTIAL = "partial"
    CORE = "core"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Grade:
    """What one run showed about one circuit; the record has the same fields."""

    level: Level  # the grade
    meaning: str  # what that is, in words
    proven: tuple[str, ...]  # claims that hold, with rates over the whole space
    sampled: tuple[str, ...]  # the others that hold
    assumptions: tuple[str, ...]  # ablations under each of which the core claims hold
    failed: tuple[str, ...]  # claims that do not hold
    undecided: tuple[str, ...]  # or not run
    undeclared: tuple[str, ...]  # of the core claims
    left_out: dict[str, str]  # claims that are not declared, with the reason that is given
    lax: tuple[str, ...]  # limits and prompts that a wrong circuit would pass, and why
    aimless: tuple[str, ...]  # heads that are not shown to look where they do in the whole model
    rivals: int | None  # other circuits that a search found; None: it was not made
    control_p: float | None  # how rarely a random circuit of the shape is as good as this one

    @property
    def sentence(self) -> str:
        """Why it is this grade, in one line."""
        held = len(self.proven) + len(self.sampled)
        how = " by proof" if self.proven else " by sample"
        if self.proven and self.sampled:
            how = f", {len(self.proven)} by proof, {len(self.sampled)} by sample"
        count = "1 claim holds" if held == 1 else f"{held} claims hold"
        under = f", under {' and '.join(self.assumptions)}" if self.assumptions else ""
        parts = [count + how + under] if held else []
        parts += [
            f"{what}: {', '.join(names)}"
            for what, names in (("failed", self.failed), ("not decided", self.undecided))
            if names
        ]
        if self.control_p is not None:
            parts.append(f"better than random circuits (p = {self.control_p:.3f})")
        if silent := [name for name in self.undeclared if name not in self.left_out]:
            parts.append(f"not declared: {', '.join(silent)}")
        if self.left_out:
            parts.append(f"left out: {_by_reason(self.left_out)}")
        if self.lax:
            parts.append(f"lax: {', '.join(map(clean, self.lax))}")
        if self.aimless:
            parts.append(f"keeps values of {_by_what_is_missing(self.aimless)}")
        if self.rivals is not None:
            parts.append(rivals_said(self.rivals))
        return "; ".join(parts)


def _by_what_is_missing(aimless: Sequence[str]) -> str:
    """Heads that lack the same named together: `heads 1.8, 1.9 without queries and keys`."""
    heads: dict[str, list[str]] = {}
    for each in aimless:
        head, _, missing = clean(each).partition(" ")
        heads.setdefault(missing, []).append(head)
    return ", ".join(
        f"head{'s' * (len(names) > 1)} {', '.join(names)} {missing}"
        for missing, names in heads.items()
    )


def rivals_said(rivals: int) -> str:
    """How many other circuits a search found, in a few words."""
    return f"{rivals or 'no'} rival{'s' * (rivals != 1)} found"


def grade(circuit: Circuit, run: Run) -> Grade:
    """Grade a circuit by the results of its claims; a claim without a result did not run."""
    found = {r.evidence.claim: r.evidence for r in run.results if r.circuit == circuit.name}
    verdicts = {name: evidence.verdict for name, evidence in found.items()}
    held = [name for name in circuit.declared if verdicts.get(name) is Verdict.PASS]
    failed = [name for name in circuit.declared if verdicts.get(name) is Verdict.FAIL]
    undecided = [name for name in circuit.declared if name not in (*held, *failed)]
    proven = [name for name in held if (rate := found[name].rate) and rate.exhaustive]
    core = {*run.of_tier("core")}
    assumptions = _assumptions(found[name] for name in held if name in core)
    level = _level(circuit, run, held=held, failed=failed, assumptions=assumptions)
    return Grade(
        level=level,
        meaning=meanings(run)[level],
        proven=tuple(proven),
        sampled=tuple(name for name in held if name not in proven),
        assumptions=assumptions,
        failed=tuple(failed),
        undecided=tuple(undecided),
        undeclared=undeclared(circuit, run),
        left_out=circuit.left_out,
        lax=circuit.lax,
        aimless=() if ATTENTION in held else circuit.aimless,
        rivals=circuit.rivals,
        control_p=found["sufficient"].measures.get("control_p") if "sufficient" in held else None,
    )


def meanings(run: Run) -> dict[Level, str]:
    """What each grade means, by the claims that there are."""
    core, beyond = ", ".join(run.of_tier("core")), ", ".join(run.of_tier("beyond"))
    return {
        Level.REFUTED: "a claim that it declares does not hold",
        Level.UNDECIDED: "a claim that it declares is not decided, or did not run",
        Level.BEHAVIOR: "its claims hold, and it names no circuit: nothing is said about how",
        Level.PARTIAL: "its claims hold, and core claims are missing, or something is lax",
        Level.CORE: f"the core claims hold: {core}",
        Level.FULL: (
            f"the core claims hold under {LEAST} ablations at least, and {beyond} besides"
        ),
    }


def undeclared(circuit: Circuit, run: Run) -> tuple[str, ...]:
    """The core claims that are not made about a circuit; where there is none, none is missing."""
    core = run.of_tier("core") if circuit.nodes else ()
    return tuple(name for name in core if name not in circuit.declared)


def warning(run: Run) -> str:
    """One sentence about core claims that are not declared, and no reason why; empty if none."""
    missing = {
        circuit.name: [name for name in undeclared(circuit, run) if name not in circuit.left_out]
        for circuit in run.circuits
        if not run.refused
    }
    named = "; ".join(
        f"{clean(name)} ({', '.join(claims)})" for name, claims in missing.items() if claims
    )
    return f"warning: core claims are not declared, and so not tested: {named}" if named else ""


def _by_reason(left_out: Mapping[str, str]) -> str:
    """The claims by the short form of their reasons: `faithful, minimal (fails), stable (new)`."""
    claims: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        claims.setdefault(_short(reason), []).append(name)
    return ", ".join(f"{', '.join(names)} ({why})" for why, names in claims.items())


def _short(reason: str) -> str:
    """What of a reason fits into a line: what stands before its first colon."""
    head = clean(reason.partition(":")[0]).strip()
    return head if len(head) <= _SHORT else f"{head[:_SHORT].rstrip()}..."


def _assumptions(found: Iterable[Evidence]) -> tuple[str, ...]:
    """The ablations under which each of these claims holds that is about what is ablated."""
    asked = [evidence.under for evidence in found if evidence.under]
    every = {name for under in asked for name in under}
    held = {name for name in every if all(u.get(name) is Verdict.PASS for u in asked)}
    return tuple(sorted(held, key=_place))


def _place(name: str) -> tuple[int, str]:
    """In the order of the table of ablations: a record's sorted keys keep no other one."""
    known = list(Ablation)
    return (known.index(Ablation(name)) if name in known else len(known), name)


def _level(
    circuit: Circuit, run: Run, *, held: list[str], failed: list[str], assumptions: Sequence[str]
) -> Level:
    if failed:
        return Level.REFUTED
    if len(held) < len(circuit.declared) or not held:
        return Level.UNDECIDED
    if not circuit.nodes:
        return Level.BEHAVIOR
    if circuit.lax or undeclared(circuit, run):
        return Level.PARTIAL
    besides = {*run.of_tier("beyond")} <= {*held}
    return Level.FULL if besides and len(assumptions) >= LEAST else Level.CORE
