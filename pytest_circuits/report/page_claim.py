"""What the page of a run shows of one claim, as plain values in the order of reading."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Counterexample, Evidence, Seen, Verdict, Worst
from pytest_circuits.report import words
from pytest_circuits.report.axis import Axis, Line, Spread, line_of, rate_axis, spread_of
from pytest_circuits.report.failure import commands, seen_in
from pytest_circuits.report.run import DELTA, Result, Run, State
from pytest_circuits.report.safe_text import number

LONGEST = 600  # characters of a prompt that are shown; the record has all
MOST_TOKENS = 120
SHADES, FAINT = 3, 0.05  # of tokens, and the share of the most that one sends, below which is none
LEAST_SENT = 0.01  # nats
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
class Token:
    """A token in quotes, and what it sends on to later ones."""

    shown: str
    sent: str = ""  # in nats; empty: next to nothing, or it is not known
    shade: str = ""  # the name of a colour: "for" or "against" and a level


@dataclass(frozen=True, slots=True)
class Prompt:
    prompt: Text
    answer: str
    foil: str
    partner: Text
    rows: tuple[Row, ...]
    tokens: tuple[Token, ...] = ()
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
    spreads: tuple[tuple[str, Spread], ...]  # beside random circuits, by what is compared
    curves: tuple[tuple[str, Line], ...]
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


def mark_of(result: Result) -> Mark:
    verdict = Verdict.INCONCLUSIVE if result.waived else result.verdict
    tone = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(verdict, "open")
    return Mark(SIGNS[verdict], words.state_of(result), tone)


def claim_of(run: Run, result: Result, key: str) -> Claim:
    evidence, meaning = result.evidence, run.meaning_of(result.evidence.claim)
    rate, law = evidence.rate, evidence.law
    example = law.counterexample if law else None
    return Claim(
        key=key,
        name=evidence.claim,
        sentence=meaning.sentence,
        mark=mark_of(result),
        why=words.why(result),
        observed=words.observed(rate),
        bound=words.bound(rate),
        prompts=words.prompts(rate) if rate else "",
        axis=rate_axis(rate) if rate else None,
        spreads=tuple(
            (_about(x.figure, x.under), drawn) for x in evidence.controls if (drawn := spread_of(x))
        ),
        curves=tuple(
            (_about(x.figure, x.under), line) for x in evidence.curves if (line := line_of(x))
        ),
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


def _about(figure: str, under: str) -> str:
    return f"{figure}, under {under}" if under else figure


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
        *_tokens(example.tokens, example.sent),
    )


def _worst(worst: Worst | None) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            _text(asked.prompt),
            repr(asked.answer),
            repr(asked.foil),
            _text(asked.partner),
            tuple(map(_row, asked.seen)),
            *_tokens(asked.tokens, asked.sent),
        )
        for asked in (worst.prompts if worst else ())
    )


def _tokens(tokens: Sequence[str], sent: Sequence[float]) -> tuple[tuple[Token, ...], int]:
    """The first tokens, each shaded by its share of the most that one sends, and how many more."""
    shown, most = tokens[:MOST_TOKENS], max(map(abs, sent), default=0.0)
    values = sent if len(sent) == len(tokens) else [0.0] * len(tokens)
    found = (_token(token, value, most) for token, value in zip(shown, values, strict=False))
    return tuple(found), max(0, len(tokens) - MOST_TOKENS)


def _token(token: str, sent: float, most: float) -> Token:
    if most < LEAST_SENT or abs(sent) < FAINT * most:
        return Token(repr(token))
    level = math.ceil(SHADES * (abs(sent) / most))
    return Token(repr(token), number(sent, "+.2f"), f"{'for' if sent > 0 else 'against'}{level}")


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
