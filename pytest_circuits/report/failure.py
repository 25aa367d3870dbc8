"""The text of a claim that does not hold: what was claimed, what was seen, how to see it again."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_circuits.claims.evidence import Counterexample, Evidence, Seen
from pytest_circuits.report import words
from pytest_circuits.report.run import Meaning, Place
from pytest_circuits.report.safe_text import clean, number, wrapped
from pytest_circuits.report.terminal import Line, Span

_WIDTH = 100
_LABEL = 12  # columns before the values of a block


class Writer(Protocol):
    """The part of pytest's terminal writer that is needed here."""

    def write(self, msg: str, *, flush: bool = False, **markup: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Crash:
    """Where and how, in one line, for pytest's short summary and JUnit's message."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.lineno}: {self.message}"


@dataclass(frozen=True, slots=True)
class FailureText:
    """What pytest shows for a failed claim, in colour on a terminal and plain elsewhere."""

    lines: tuple[Line, ...]
    reprcrash: Crash

    def toterminal(self, tw: Writer) -> None:
        for line in self.lines:
            for span in line:
                tw.write(span.text, **span.markup)
            tw.write("\n")

    def __str__(self) -> str:
        return plain(self.lines)


def failure_text(
    evidence: Evidence, meaning: Meaning, place: Place, *, circuit: str, baseline: str = ""
) -> FailureText:
    """The text of a claim whose verdict is not `pass`; baseline: what it was compared with."""
    title = f"{clean(circuit)}: {evidence.claim}: {evidence.verdict.value}"
    head = (Span(title, words.colour_of(evidence.verdict)), Span(f"  ({place.path}:{place.line})"))
    lines: list[Line] = [head, (), *account(evidence, meaning), ()]
    if baseline:
        lines += _block("baseline", [baseline])
    for label, command in commands(evidence, place).items():
        lines += _block(label, [command])
    lines += worst_prompts(evidence)
    crash = Crash(place.path, place.line, f"{evidence.claim}: {clean(evidence.reason)}")
    return FailureText(tuple(lines), crash)


def account(evidence: Evidence, meaning: Meaning) -> list[Line]:
    """What was claimed and seen, and the smallest prompt that breaks the law."""
    lines, law = _claim_block(evidence, meaning.sentence), evidence.law
    if law and law.counterexample:
        lines += [(), *_example_block(law.counterexample, law.searched, meaning.partner)]
    return lines


def worst_prompts(evidence: Evidence) -> list[Line]:
    """The prompts that went worst, each with the logits of its runs below it, after a blank line.

    It stands behind all that is needed to act, which fits on one screen.
    """
    worst = evidence.worst
    if worst is None:
        return []
    width = _names_width(seen for asked in worst.prompts for seen in asked.seen)
    where = _block("worst", wrapped(f"the prompts where {worst.where}:", _WIDTH - _LABEL))
    lines = [(), *where, _row("", _logits_head(width))]
    for asked in worst.prompts:
        said = f"{asked.prompt!r}  (answer {asked.answer!r}, foil {asked.foil!r})"
        lines.append(_row("", said, red=True))
        lines += _block("", [_logits_row(seen, width) for seen in asked.seen])
    return lines


def commands(evidence: Evidence, place: Place) -> dict[str, str]:
    """What a reader can run: the claim again, and what keeps the prompt that broke its law."""
    found = {"reproduce": place.command}
    if evidence.law and evidence.law.counterexample:
        found["keep it"] = _keeping(place.path, evidence.law.counterexample.prompt)
    return found


def plain(lines: Iterable[Line]) -> str:
    """The same lines without their markup."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def _claim_block(evidence: Evidence, sentence: str) -> list[Line]:
    lines, rate = _block("claim", [sentence]), evidence.rate
    if rate is not None:
        lines += _block("observed", [f"{words.observed(rate)} of {words.prompts(rate)}"])
        lines += _block("bound", [words.bound(rate)])
    lines += _block("reason", wrapped(evidence.reason, _WIDTH - _LABEL))
    measures = ", ".join(
        f"{name.replace('_', ' ')} {number(value, '.4g')}"
        for name, value in sorted(evidence.measures.items())
        if value is not None
    )
    return lines + _block("measures", wrapped(measures, _WIDTH - _LABEL))


def _example_block(example: Counterexample, searched: int, partner: str) -> list[Line]:
    answer = f"{example.answer!r}, foil {example.foil!r}"
    tokens = " ".join(map(repr, example.tokens))
    return [
        _row("law", f"broken; the smallest prompt found that breaks it, of {searched} tried:"),
        _row("prompt", repr(example.prompt), red=True),
        _row("answer", answer),
        _row("partner", f"{example.partner!r}  ({partner})"),
        *_block("tokens", textwrap.wrap(tokens, _WIDTH - _LABEL, break_on_hyphens=False)),
        *_logits_table(seen_in(example)),
        *_causes_table(example),
    ]


def seen_in(example: Counterexample) -> list[Seen]:
    """What each run made of a counterexample, in the order in which they are shown."""
    seen = []
    for run in dict.fromkeys([*example.runs, *example.margins, *example.logits]):
        logits = example.logits.get(run, {})
        margin = example.margins.get(run)
        seen.append(Seen(run, logits.get("answer"), logits.get("foil"), margin))
    return seen


def _logits_table(seen: Sequence[Seen]) -> list[Line]:
    width = _names_width(seen)
    return _block("logits", [_logits_head(width), *(_logits_row(each, width) for each in seen)])


def _names_width(seen: Iterable[Seen]) -> int:
    return max((len(clean(each.run)) for each in seen), default=0)


def _logits_head(width: int) -> str:
    return f"{'':{width}}  {'answer':>9}  {'foil':>9}  {'margin':>9}"


def _logits_row(seen: Seen, width: int) -> str:
    shown = [number(value, "+.3f") for value in (seen.answer, seen.foil, seen.margin)]
    return f"{clean(seen.run):{width}}  " + "  ".join(f"{text:>9}" for text in shown)


def _causes_table(example: Counterexample) -> list[Line]:
    """One row per node or edge: what its change alone moves, and how much of the whole that is."""
    names = [f"{clean(cause.part)} {cause.change}" for cause in example.causes]
    width = max(map(len, names), default=0)
    rows = [
        f"{name:{width}}  {number(cause.before, '+.3f'):>9}  {number(cause.after, '+.3f'):>9}  "
        f"{number(100 * cause.share, '.0f'):>5} %"
        for name, cause in zip(names, example.causes, strict=True)
    ]
    head = f"{'':{width}}  {'from':>9}  {'to':>9}  {'share':>7}"
    return _block("causes", [head, *rows]) if rows else []


def _block(label: str, values: Sequence[str]) -> list[Line]:
    labels: Iterable[str] = [label, *[""] * (len(values) - 1)]
    return [_row(name, value) for name, value in zip(labels, values, strict=False)]


def _row(label: str, value: str, **markup: bool) -> Line:
    return (Span(f"  {label:{_LABEL - 2}}", {"bold": True}), Span(value, markup))


def _keeping(path: str, prompt: str) -> str:
    """The command that puts a prompt under the regressions of a file, one line for any shell.

    A prompt with characters that cannot be seen, line ends among them, is written as JSON.
    """
    words = [path, prompt] if prompt.isprintable() else ["--json", path, json.dumps(prompt)]
    if any(word.startswith("-") for word in (path, prompt)):
        words.insert(len(words) - 2, "--")
    return shlex.join(["pytest-circuits", "keep", *words])
