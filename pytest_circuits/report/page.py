"""What the page of a run shows, as plain values in the order in which they are read.

Nothing here is HTML: the template makes it, and spells out every character that is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.errors import told
from pytest_circuits.report import words
from pytest_circuits.report.grade import Grade, grade, meanings, warning
from pytest_circuits.report.matrix import matrix
from pytest_circuits.report.page_claim import SIGNS, Claim, Mark, claim_of, mark_of
from pytest_circuits.report.run import Circuit, File, Result, Run
from pytest_circuits.report.terminal import verdict_line
from pytest_circuits.show.heat import Heat
from pytest_circuits.spec.ablations import Ablation

TERMS = (
    ("answer, foil", "the token that should come next at a prompt, and the one that should not"),
    ("partner", "the prompt that a prompt is compared with; which one that is stands beside it"),
    (
        "margin",
        "logit(answer) - logit(foil), in nats: at 3 the answer is twenty times as likely",
    ),
    ("node, circuit", "one part inside the model; those that are said to do the job"),
    (
        "ablated",
        "with something else in place of what it carries: "
        + ", ".join(f"under {each} {each.kind.value}" for each in Ablation),
    ),
    (
        "circuit alone, without it",
        "the model with all else ablated; the model with the circuit alone ablated",
    ),
    ("law", "what has to hold at every prompt: one prompt that breaks it is enough to fail"),
)
MOST_FILES = 40
MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Section:
    """One circuit."""

    key: str
    circuit: Circuit
    grade: Grade
    size: str
    baseline: str
    mark: Mark
    reading: str  # what its verdicts say together, where they are red; or nothing
    claims: tuple[Claim, ...]
    files: tuple[File, ...]  # those that are of no other circuit as well

    @property
    def stands_out(self) -> bool:
        return any(claim.stands_out for claim in self.claims)

    @property
    def heat(self) -> Heat | None:
        """What is drawn below a circuit: where all passes, the attention alone, which is small."""
        heat = self.circuit.heat
        return heat if self.stands_out or heat is None else heat.attention


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
    def terms(self) -> tuple[tuple[str, str], ...]:
        """Words that the page uses, and what each means."""
        return TERMS

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
    def readings(self) -> list[tuple[str, str]]:
        """What the verdicts of red circuits say together, by the name of the circuit."""
        return [(each.circuit.name, each.reading) for each in self.sections if each.reading]

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
        title=f"Circuits: {mark_of_run(run).word}",
        mark=mark_of_run(run),
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


def mark_of_run(run: Run) -> Mark:
    """The verdict of a run; what is green and no pass is called what it is."""
    if run.verdict is Verdict.PASS:
        return Mark("✓", "pass", "pass")
    if run.refused:
        return Mark("✗", "no verdict", "fail")
    if run.green and run.not_asked_for:
        return Mark("?", "pass of a part", "open")
    if run.green:
        waivers = f"pass with {words.several(len(run.waived), 'waiver')}"
        return Mark("?", waivers if run.waived else "baseline recorded", "open")
    tone = "fail" if run.verdict is Verdict.FAIL else "open"
    return Mark(SIGNS[run.verdict], run.verdict.value, tone)


def _cell(result: Result | None, keys: dict[tuple[str, str], str]) -> Cell | None:
    if result is None:
        return None
    rate = result.evidence.rate
    detail = words.share(rate.estimate) if rate else ""
    return Cell(mark_of(result), keys[result.circuit, result.evidence.claim], detail)


def _section(run: Run, circuit: Circuit, place: int, shared: Sequence[File]) -> Section:
    key = f"c{place + 1}"
    results = [result for result in run.results if result.circuit == circuit.name]
    claims = tuple(claim_of(run, r, f"{key}-{n + 1}") for n, r in enumerate(results))
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
        reading=_reading({result.evidence.claim: result for result in results}),
        claims=claims,
        files=tuple(file for file in circuit.files if file not in shared)[:MOST_FILES],
    )


def _reading(results: Mapping[str, Result]) -> str:
    """What the core verdicts say together, and no more; nothing where that is nothing."""

    def is_(claim: str, verdict: Verdict) -> bool:
        return claim in results and results[claim].verdict is verdict

    if is_("behaves", Verdict.FAIL):
        return "the model does not give the right answers"
    if not is_("behaves", Verdict.PASS):
        return ""
    if is_("sufficient", Verdict.FAIL):
        rate = results["necessary"].evidence.rate if is_("necessary", Verdict.FAIL) else None
        stays = rate is not None and rate.estimate > rate.threshold
        also = ", and without it they stay: something else gives them" if stays else ""
        return f"the model gives the right answers; the circuit alone does not give them{also}"
    if is_("sufficient", Verdict.PASS) and is_("necessary", Verdict.FAIL):
        return "the circuit is enough for the right answers; that the model needs it does not hold"
    if is_("sufficient", Verdict.PASS) and is_("stable", Verdict.FAIL):
        return "the circuit is enough for the right answers; it is not what it was in the baseline"
    return ""


def _shared(circuits: Sequence[Circuit]) -> tuple[File, ...]:
    """The files of all circuits that have any, which are told once."""
    sets = [set(circuit.files) for circuit in circuits if circuit.files]
    common = set.intersection(*sets) if len(sets) > 1 else set()
    return tuple(sorted(common, key=lambda file: (file.role, file.name)))
