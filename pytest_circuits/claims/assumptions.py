"""A claim under each ablation that a specification names, put together to one verdict.

What an excluded node is worth is an assumption. A claim that holds under one ablation and not under
another says so: it is assumption-sensitive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_circuits.claims.evidence import (
    WORST_FIRST,
    Controls,
    Curve,
    Evidence,
    Law,
    Rate,
    Verdict,
)
from pytest_circuits.claims.findings import Finding, conclude
from pytest_circuits.spec.ablations import Ablation


@dataclass(frozen=True, slots=True)
class Under:
    """What a claim found under one ablation."""

    ablation: Ablation
    findings: Sequence[Finding]
    rate: Rate | None = None
    measures: Mapping[str, float | None] = field(default_factory=dict)
    controls: Sequence[Controls] = ()
    curves: Sequence[Curve] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of what was found."""
        return min((finding.verdict for finding in self.findings), key=WORST_FIRST.index)


def conclude_under(
    claim: str,
    parts: Sequence[Under],
    *,
    law: Law,
    besides: Sequence[Finding] = (),
    remark: str = "",
) -> Evidence:
    """Evidence of a claim that has to hold under each of several ablations.

    Its rate, and how that differs from the baseline's, are those of the ablation under which it
    holds least. Measures of all but the first ablation have its name at their end. besides: what
    was found about all of them at once, such as the law.
    """
    broken = law.counterexample.under if law.counterexample else ()
    under = {
        part.ablation.value: Verdict.FAIL if part.ablation.value in broken else part.verdict
        for part in parts
    }
    worst = min(parts, key=lambda part: WORST_FIRST.index(part.verdict))
    several = len(parts) > 1
    findings = [
        replace(finding, sentence=f"under {part.ablation}: " * several + finding.sentence)
        for part in parts
        for finding in part.findings
    ]
    measures = {
        name + f"_{part.ablation}" * (part is not parts[0]): value
        for part in parts
        for name, value in part.measures.items()
        if name != "delta_to_baseline"
    }
    if "delta_to_baseline" in worst.measures:
        measures["delta_to_baseline"] = worst.measures["delta_to_baseline"]
    found = conclude(
        claim,
        [*_sensitive(under), *findings, *besides],
        rate=worst.rate,
        law=law,
        measures=measures,
        remark=remark,
    )
    drawn = [(part.ablation.value, part) for part in parts]
    return replace(
        found,
        under=under,
        controls=tuple(replace(x, under=name) for name, part in drawn for x in part.controls),
        curves=tuple(replace(x, under=name) for name, part in drawn for x in part.curves),
    )


def _sensitive(under: Mapping[str, Verdict]) -> list[Finding]:
    """Say first that it holds under one ablation and not under another."""
    holds, fails = (
        ", ".join(name for name, found in under.items() if found is verdict)
        for verdict in (Verdict.PASS, Verdict.FAIL)
    )
    if not (holds and fails):
        return []
    text = f"assumption-sensitive: it holds under {holds} and not under {fails}"
    return [Finding(Verdict.FAIL, text, "assumption-sensitive")]
