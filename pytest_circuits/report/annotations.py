"""Workflow commands of GitHub Actions, which mark lines of a pull request.

`::error file=,line=,col=,title=::message`; GitHub keeps ten errors of a step. What specifications
say is escaped, so that a name can neither end a command nor begin one.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.claims.evidence import Evidence
from pytest_circuits.report import words
from pytest_circuits.report.run import Result, Run
from pytest_circuits.report.safe_text import clean, number

MOST = 10  # errors of a step that GitHub shows


def workflow_commands(run: Run) -> list[str]:
    """One command a line: why specifications are refused, which claims do not pass, what else."""
    found = [*_refusals(run), *_claims(run), *_problems(run)]
    if len(found) <= MOST:
        return found
    more = f"and {len(found) - MOST + 1} more, in the log"
    return [*found[: MOST - 1], _command(more, title="circuits")]


def _refusals(run: Run) -> Iterator[str]:
    for refusal in run.refusals:
        yield _command(
            refusal.text,
            file=run.in_repository(refusal.spec),
            line=refusal.line,
            col=refusal.column,
            title="specification cannot be used",
        )


def _claims(run: Run) -> Iterator[str]:
    for result in run.blocking:
        if result.is_told:
            yield _command(
                message_of(result),
                file=run.in_repository(run.spec_of(result)),
                line=result.place.line,
                col=result.place.column,
                title=f"{result.circuit} {result.evidence.claim}: {words.state_of(result)}",
            )


def message_of(result: Result) -> str:
    """What to know about a claim that does not pass: the reason, the command, the prompts."""
    law = result.evidence.law
    lines = [clean(result.evidence.reason)]
    if law and law.counterexample:
        lines.append(f"prompt: {law.counterexample.prompt!r}")
    if result.place.command:
        lines.append(f"reproduce: {clean(result.place.command)}")
    lines += _worst(result.evidence)
    return "\n".join(lines)


def _worst(evidence: Evidence) -> Iterator[str]:
    """One line for each of the worst prompts, with its logits."""
    worst = evidence.worst
    for place, asked in enumerate(worst.prompts if worst else ()):
        runs = [
            f"{clean(seen.run)} {number(seen.margin, '+.3f')} "
            f"({number(seen.answer, '+.3f')} to {number(seen.foil, '+.3f')})"
            for seen in asked.seen
        ]
        about = f"answer {asked.answer!r}, foil {asked.foil!r}"
        yield f"worst {place + 1}: {asked.prompt!r} ({about}): {', '.join(runs)}"


def _problems(run: Run) -> Iterator[str]:
    """One command per problem; one about a waiver begins with its place, and is marked there."""
    waivers = [waiver.place for circuit in run.circuits for waiver in circuit.waivers.values()]
    for problem in run.problems:
        place = next((place for place in waivers if problem.startswith(f"{place}: ")), None)
        if place is None:
            yield _command(clean(problem), title="circuits")
            continue
        spec, line, col = place.rsplit(":", 2)
        message = clean(problem.removeprefix(f"{place}: "))
        file = run.in_repository(spec)
        yield _command(message, file=file, line=line, col=col, title="waiver")


def _command(message: str, **properties: str | int) -> str:
    named = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::error {named}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
