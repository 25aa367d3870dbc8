"""What the page of a run shows, as plain values in the order in which they are read.

Nothing here is HTML: the template makes it, and spells out every character that is not shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Counterexample, Evidence, Seen, Verdict, Worst
from pytest_circuits.errors import told
from pytest_circuits.report import words
from pytest_circuits.report.axis import Axis, rate_axis
from pytest_circuits.report.failure import commands, seen_in
from pytest_circuits.report.grade import Grade, grade, meanings, warning
from pytest_circuits.report.matrix import matrix
from pytest_circuits.report.run import DELTA, Circuit, File, Result, Run, State
from pytest_circuits.report.safe_text import number
from pytest_circuits.report.terminal import verdict_line

LONGEST = 600  # characters of a prompt that are shown; the record has all
MOST_TOKENS = 120
MOST_FILES = 40
MOST_NAMED = 4
SIGNS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?"}
_BEFORE = "_before"


@dataclass(frozen=True, slots=True)
class Mark:
    """A verdict as a sign, a word and the name of a colour; never as a colour alone."""

    sign: str
    word: str
    tone: str  # "pass", "fail", "open" or "none"


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes, cut where it is long."""

    shown: str
    more: int  # characters that are left out


@dataclass(frozen=True, slots=True)
class Row:
    """What one run made of a prompt: its name, and the logits and margin in nats."""

    run: str
    numbers: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    prompt: Text
    answer: str
    foil: str
    partner: Text
    rows: tuple[Row, ...]
    tokens: tuple[str, ...] = ()
    more_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure beside what it was in the baseline."""

    what: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Claim:
    key: str  # of its place on the page
    name: str
    sentence: str
    mark: Mark
    why: str
    observed: str
    bound: str
    prompts: str
    axis: Axis | None
    findings: tuple[str, ...]
    waived: str
    under: tuple[tuple[str, Mark], ...]
    compared: tuple[Compared, ...]
    measures: tuple[tuple[str, str], ...]
    example: Prompt | None
    searched: int | None
    violation: str
    partner: str  # what the partner of a prompt is
    causes: tuple[tuple[str, str, str, str], ...]
    worst: tuple[Prompt, ...]
    worst_where: str
    place: str
    commands: tuple[tuple[str, str], ...]

    @property
    def stands_out(self) -> bool:
        """Whether it is to be seen at once."""
        return self.mark.tone in {"fail", "open"}


@dataclass(frozen=True, slots=True)
class Section:
    """One circuit."""

    key: str
    circuit: Circuit
    grade: Grade
    size: str
    baseline: str
    mark: Mark
    claims: tuple[Claim, ...]
    files: tuple[File, ...]  # those that are of no other circuit as well

    @property
    def stands_out(self) -> bool:
        return any(claim.stands_out for claim in self.claims)


@dataclass(frozen=True, slots=True)
class Cell:
    mark: Mark
    href: str
    detail: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the matrix."""

    name: str
    key: str
    grade: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Page:
    run: Run
    title: str
    mark: Mark
    verdict: str
    remarks: tuple[str, ...]
    refusals: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # claims, and what they say
    lines: tuple[Line, ...]
    sections: tuple[Section, ...]
    shared: tuple[File, ...]  # files that every circuit with evidence depends on
    more_files: int
    grades: tuple[tuple[str, str], ...]
    record: str

    @property
    def models(self) -> list[tuple[str, str]]:
        found = dict.fromkeys((c.model.path, c.model.digest) for c in self.run.circuits)
        return list(found)[:MOST_NAMED]

    @property
    def baselines(self) -> list[str]:
        """What the circuits were compared with, as long as that is few."""
        found = list(dict.fromkeys(s.baseline for s in self.sections if s.baseline))
        if len(found) <= MOST_NAMED:
            return found
        return [f"{len(found)} baselines, each named below with its circuit"]

    @property
    def devices(self) -> str:
        return ", ".join(sorted({circuit.device for circuit in self.run.circuits}))

    @property
    def seconds(self) -> str:
        return f"{self.run.seconds:.0f} s"

    @property
    def blocking(self) -> list[tuple[Section, Claim]]:
        return [
            (each, claim) for each in self.sections for claim in each.claims if claim.stands_out
        ]


def page_of(run: Run, *, record: str) -> Page:
    """The page of a run; record: where its evidence lies, or nothing."""
    found = matrix(run)
    shared = _shared(run.circuits)
    sections = tuple(_section(run, c, place, shared) for place, c in enumerate(run.circuits))
    keys = {(s.circuit.name, claim.name): claim.key for s in sections for claim in s.claims}
    lines = [
        Line(
            row.circuit.name,
            section.key,
            section.grade.level.value,
            tuple(_cell(cell, keys) for cell in row.cells),
        )
        for row, section in zip(found.rows, sections, strict=True)
    ]
    every = told([f"{r.spec}:{r.line}:{r.column}: {r.text}" for r in run.refusals])
    return Page(
        run=run,
        title=f"Circuits: {_mark(run).word}",
        mark=_mark(run),
        verdict=verdict_line(run),
        remarks=tuple(filter(None, [*told(run.problems), *run.notes, warning(run)])),
        refusals=tuple(every),
        columns=tuple((name, run.meaning_of(name).sentence) for name in found.claims),
        lines=tuple(lines),
        sections=sections,
        shared=shared[:MOST_FILES],
        more_files=max(0, len(shared) - MOST_FILES),
        grades=tuple((level.value, text) for level, text in meanings(run).items()),
        record=record,
    )


def _mark(run: Run) -> Mark:
    if run.verdict is Verdict.PASS:
        return Mark("✓", "pass", "pass")
    if run.green and run.not_asked_for:
        return Mark("?", "pass of a part", "open")
    if run.green:
        waivers = f"pass with {words.several(len(run.waived), 'waiver')}"
        return Mark("?", waivers if run.waived else "baseline recorded", "open")
    tone = "fail" if run.verdict is Verdict.FAIL else "open"
    return Mark(SIGNS[run.verdict], run.verdict.value, tone)


def _mark_of(result: Result) -> Mark:
    verdict = Verdict.INCONCLUSIVE if result.waived else result.verdict
    tone = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(verdict, "open")
    return Mark(SIGNS[verdict], words.state_of(result), tone)


def _cell(result: Result | None, keys: dict[tuple[str, str], str]) -> Cell | None:
    if result is None:
        return None
    rate = result.evidence.rate
    detail = words.share(rate.estimate) if rate else ""
    return Cell(_mark_of(result), keys[result.circuit, result.evidence.claim], detail)


def _section(run: Run, circuit: Circuit, place: int, shared: Sequence[File]) -> Section:
    key = f"c{place + 1}"
    results = [result for result in run.results if result.circuit == circuit.name]
    claims = tuple(_claim(run, r, f"{key}-{n + 1}") for n, r in enumerate(results))
    tones = [claim.mark.tone for claim in claims]
    tone = next((each for each in ("fail", "open", "pass") if each in tones), "none")
    sign = {"fail": "✗", "pass": "✓"}.get(tone, "?")
    nodes, edges = words.several(circuit.nodes, "node"), words.several(circuit.edges, "edge")
    return Section(
        key=key,
        circuit=circuit,
        grade=grade(circuit, run),
        size=f"{nodes}, {edges}" if circuit.nodes else "no circuit: claims about the whole model",
        baseline=words.compared_with(circuit),
        mark=Mark(sign, tone, tone),
        claims=claims,
        files=tuple(file for file in circuit.files if file not in shared)[:MOST_FILES],
    )


def _claim(run: Run, result: Result, key: str) -> Claim:
    evidence, meaning = result.evidence, run.meaning_of(result.evidence.claim)
    rate, law = evidence.rate, evidence.law
    example = law.counterexample if law else None
    return Claim(
        key=key,
        name=evidence.claim,
        sentence=meaning.sentence,
        mark=_mark_of(result),
        why=words.why(result),
        observed=words.observed(rate),
        bound=words.bound(rate),
        prompts=words.prompts(rate) if rate else "",
        axis=rate_axis(rate) if rate else None,
        findings=tuple(_findings(evidence.reason)),
        waived=words.waived(result.waived) if result.waived else "",
        under=tuple((name, _under(verdict)) for name, verdict in evidence.under.items()),
        compared=tuple(_compared(evidence)),
        measures=tuple(
            (name.replace("_", " "), number(value, ".4g"))
            for name, value in sorted(evidence.measures.items())
        ),
        example=_example(example) if example else None,
        searched=law.searched if law else None,
        violation=example.violation if example else "",
        partner=meaning.partner,
        causes=_causes(example) if example else (),
        worst=_worst(evidence.worst),
        worst_where=evidence.worst.where if evidence.worst else "",
        place=f"{result.place.path}:{result.place.line}" if result.place.path else "",
        commands=tuple((n, text) for n, text in commands(evidence, result.place).items() if text)
        if result.state is State.RAN
        else (),
    )


def _findings(reason: str) -> Iterable[str]:
    """The parts of a reason, which are joined by semicolons; those in brackets stay together."""
    found, depth = "", 0
    for piece in re.split("(; |[()])", reason):
        depth = max(0, depth + (piece == "(") - (piece == ")"))
        if piece == "; " and not depth:
            yield found
            found = ""
        else:
            found += piece
    yield found


def _under(verdict: Verdict) -> Mark:
    tone = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(verdict, "open")
    return Mark(SIGNS[verdict], verdict.value, tone)


def _compared(evidence: Evidence) -> Iterable[Compared]:
    """Figures of which the evidence says what they were in the baseline."""
    measures, rate = evidence.measures, evidence.rate
    delta = measures.get(DELTA)
    of_claim = rate is not None and "rate_before" not in measures
    if rate and of_claim and delta is not None and math.isfinite(delta):
        before, now = rate.estimate - delta, rate.estimate
        yield Compared("rate", words.share(before), words.share(now))
    before_rate = measures.get("rate_before")
    if before_rate is not None and delta is not None:
        yield Compared("rate alone", words.share(before_rate), words.share(before_rate + delta))
    for name, value in sorted(measures.items()):
        now_value = measures.get(name.removesuffix(_BEFORE))
        if name.endswith(_BEFORE) and value is not None and now_value is not None:
            what = name.removesuffix(_BEFORE).replace("_", " ")
            yield Compared(f"{what} (nats)", number(value, ".3f"), number(now_value, ".3f"))


def _example(example: Counterexample) -> Prompt:
    return Prompt(
        _text(example.prompt),
        repr(example.answer),
        repr(example.foil),
        _text(example.partner),
        tuple(map(_row, seen_in(example))),
        tuple(map(repr, example.tokens[:MOST_TOKENS])),
        max(0, len(example.tokens) - MOST_TOKENS),
    )


def _worst(worst: Worst | None) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            _text(asked.prompt),
            repr(asked.answer),
            repr(asked.foil),
            _text(asked.partner),
            tuple(map(_row, asked.seen)),
        )
        for asked in (worst.prompts if worst else ())
    )


def _row(seen: Seen) -> Row:
    answer, foil, margin = (number(v, "+.3f") for v in (seen.answer, seen.foil, seen.margin))
    return Row(seen.run, (answer, foil, margin))


def _causes(example: Counterexample) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(
        (
            f"{cause.part} {cause.change}",
            number(cause.before, "+.3f"),
            number(cause.after, "+.3f"),
            f"{number(100 * cause.share, '.0f')} %",
        )
        for cause in example.causes
    )


def _text(text: str) -> Text:
    return Text(repr(text[:LONGEST]), max(0, len(text) - LONGEST))


def _shared(circuits: Sequence[Circuit]) -> tuple[File, ...]:
    """The files of all circuits that have any, which are told once."""
    sets = [set(circuit.files) for circuit in circuits if circuit.files]
    common = set.intersection(*sets) if len(sets) > 1 else set()
    return tuple(sorted(common, key=lambda file: (file.role, file.name)))
