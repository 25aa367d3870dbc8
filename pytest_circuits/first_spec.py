"""A first specification of a behavior, from two prompts and what follows each.

What the two prompts differ in is the cue. A word that both have becomes a slot: it holds words of
the tokenizer with which the model still prefers both answers, so that there are prompts enough to
find a circuit on. The text is commented, for a person to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_circuits.circuit.check import check_asked
from pytest_circuits.circuit.encoding import Encoder, floats
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import Prompt, PromptSpace
from pytest_circuits.spec.load import LoadedSpec, parse_spec
from pytest_circuits.spec.slots import ChoiceSlot
from pytest_circuits.spec.yaml_text import scalar_text

WORDS = 16  # that a slot is given: fewer different pairs are lax
_TRIED = 96  # words of the tokenizer, the most frequent first
_WHOLE = 4  # letters of a token that is likely a whole word
_NAMED = 40  # characters of a name that is made of the cues
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Two prompts with what should follow each, as one text before, two cues and one after."""

    prompts: tuple[str, str]
    answers: tuple[str, str]

    @property
    def parts(self) -> tuple[str, tuple[str, str], str]:
        """What both begin with, what each has of its own, what both end with; words stay whole."""
        first, second = self.prompts
        start = _common(first, second)
        end = _common(first[start:][::-1], second[start:][::-1])
        cues = (first[start : len(first) - end], second[start : len(second) - end])
        return first[:start], cues, first[len(first) - end :]

    def having(self, word: str, other: str) -> Asked:
        """The same with another word in what both prompts share."""
        before, (first, second), after = self.parts
        before, after = (_replaced(text, word, other) for text in (before, after))
        return replace(self, prompts=(before + first + after, before + second + after))


@dataclass(frozen=True, slots=True)
class FirstSpec:
    """A specification that loads, and what to know of it."""

    loaded: LoadedSpec
    text: str
    margins: tuple[float, float]  # nats by which the model prefers each answer to the other
    words: tuple[str, ...]  # that fill the slot; none: there is one pair of prompts


def first_spec(asked: Asked, model: Model, *, named: str, path: Path, model_path: str) -> FirstSpec:
    """Make a specification; UsageError where none can be made of these prompts and answers.

    named: the circuit, or nothing. path: where the file will lie. model_path: the model from there.
    """
    _check(asked)
    alone, _ = _loaded(asked, "", (), named=named, path=path, model_path=model_path)
    pair, _ = next(PromptSpace(alone.spec.behavior).enumerate())
    problems = check_asked(alone, model, [pair])
    if problems:
        told = (f"{p.text}; {p.hint}" if p.hint else p.text for p in problems)
        raise UsageError("\n".join(told))
    (margins,) = _margins(model, [asked])
    word, words = max(_fillings(asked, model), key=lambda found: len(found[1]), default=("", ()))
    loaded, text = _loaded(asked, word, words, named=named, path=path, model_path=model_path)
    return FirstSpec(loaded, text, margins, words)


def _check(asked: Asked) -> None:
    first, second = asked.answers
    if not (first and second and all(asked.prompts)):
        raise UsageError("a prompt or an answer is empty; give two prompts, and what follows each")
    if asked.prompts[0] == asked.prompts[1]:
        raise UsageError("the two prompts are the same; change the cue, on which the answer hangs")
    if first == second:
        raise UsageError(
            f"both answers are {first!r}; change the cue so that another answer is right"
        )


def _common(first: str, second: str) -> int:
    """How many characters both texts begin with, without a part of a word."""
    count = 0
    while count < min(len(first), len(second)) and first[count] == second[count]:
        count += 1
    while count and any(
        text[count - 1].isalnum() and text[count : count + 1].isalnum() for text in (first, second)
    ):
        count -= 1
    return count


def _replaced(text: str, word: str, other: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda _: other, text)


def _fillings(asked: Asked, model: Model) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each word that both prompts share, with the words that may stand for it, itself first."""
    before, cues, after = asked.parts
    in_cues = set(re.findall(r"\w+", " ".join((*cues, *asked.answers))))
    found = [match for text in (before, after) for match in _WORD.finditer(text)]
    seen: dict[str, bool] = {}
    for match in found:
        seen.setdefault(match[0], match.string[match.start() - 1 : match.start()] == " ")
    for word, spaced in seen.items():
        if word in in_cues or asked.having(word, "x") == asked:
            continue
        others = [other for other in _like(word, model, spaced=spaced) if other != word]
        kept = [word]
        for other, both in zip(others, _tried(asked, word, others, model), strict=True):
            if both and len(kept) < WORDS:
                kept.append(other)
        if len(kept) > 1:
            yield word, tuple(kept)


def _like(word: str, model: Model, *, spaced: bool) -> list[str]:
    """Tokens that are written as a word is, in their order; short ones, often no words, last."""
    found: dict[str, None] = {}
    for index in range(model.vocab_size):
        text = model.decode_token(index)
        bare = text[1:] if spaced and text.startswith(" ") else text
        if (bare != text) != spaced or not _WORD.fullmatch(bare) or not bare.isascii():
            continue
        if bare.islower() == word.islower() and bare.istitle() == word.istitle():
            found[bare] = None
    return sorted(found, key=lambda text: len(text) < _WHOLE)[:_TRIED]


def _tried(asked: Asked, word: str, others: list[str], model: Model) -> list[bool]:
    """Whether the model prefers both answers with each of these words."""
    margins = _margins(model, [asked.having(word, other) for other in others])
    return [min(both) > 0 for both in margins]


def _margins(model: Model, every: list[Asked]) -> list[tuple[float, float]]:
    """Nats by which the model prefers each answer; -1 where it is no single token."""
    encoder, found = Encoder(model), []
    for asked in every:
        (first, second), (mine, other) = asked.prompts, asked.answers
        prompts = [Prompt(first, mine, other), Prompt(second, other, mine)]
        try:
            batch = encoder.batch(prompts, rows=2)
        except SpecError:  # a word that merges with what stands beside it
            found.append((-1.0, -1.0))
            continue
        logits = model.run(batch.tokens, at=batch.last)  # [2, V]
        seen = floats(batch.preferences(logits[None])[0])  # [2, 2]
        found.append((float(seen[0, 0] - seen[0, 1]), float(seen[1, 0] - seen[1, 1])))
    return found


def _loaded(
    asked: Asked, word: str, words: tuple[str, ...], *, named: str, path: Path, model_path: str
) -> tuple[LoadedSpec, str]:
    text = _text(
        asked, word, words, named=named or name_of(asked), model_path=model_path, path=path
    )
    try:
        return parse_spec(text, path=path), text
    except SpecError as error:
        raise UsageError(f"no specification can be made of these prompts: {error}") from error


def name_of(asked: Asked) -> str:
    """A name made of the cues or the answers, such as `for_while`."""
    for texts in (asked.parts[1], asked.answers):
        pieces = [piece for text in texts for piece in re.findall("[a-z0-9]+", text.lower())]
        if pieces and pieces[0][0].isalpha():
            return "_".join(pieces)[:_NAMED].rstrip("_")
    return "behavior"


def _text(
    asked: Asked, word: str, words: tuple[str, ...], *, named: str, model_path: str, path: Path
) -> str:
    before, cues, after = asked.parts
    before, after = _literal(before), _literal(after)
    if words:
        before, after = (_replaced(text, word, "{word}") for text in (before, after))
    slots = ["  # One pair of prompts is little to find a circuit on: add slots for what differs."]
    if words:
        slots = [
            "  slots:",
            "    # What may differ and must not matter. The model is right with each of these; put",
            "    # in what is really written: a circuit is only as general as its prompts.",
            *(f"    {line}" for line in ChoiceSlot(choice=words).lines("word")),
        ]
    return "\n".join(
        (
            "# Made by `pytest-circuits init` of two prompts, to begin with. Read each line.",
            "version: 1",
            f"circuit: {scalar_text(named)}",
            f"description: {scalar_text(_description(asked))}",
            f"model: {scalar_text(model_path)}",
            "behavior:",
            "  # The text before the answer; names in braces are filled in, {{ and }} are braces.",
            f"  prompt: {scalar_text(f'{before}{{cue}}{after}')}",
            *slots,
            "  contrast:",
            "    cue:  # cue: answer; the other cue's answer is the foil",
            *(
                f"      {scalar_text(cue)}: {scalar_text(answer)}"
                for cue, answer in zip(cues, asked.answers, strict=True)
            ),
            "# What all else becomes while the circuit runs; [mean, contrast] asks for both.",
            "ablation: mean",
            f"# No nodes yet: `pytest-circuits prune {path.name}` finds them.",
            "claims:",
            "  behaves:    {rate: 0.95}  # the whole model prefers the answer",
            "  sufficient: {rate: 0.95, max_loss: 0.15}  # so does the circuit alone",
            "  necessary:  {max_rate: 0.65}  # without the circuit the preference is gone",
            "",
        )
    )


def _description(asked: Asked) -> str:
    _, (first, second), _ = asked.parts
    one, other = asked.answers
    return f"After {first!r} comes {one!r}, after {second!r} comes {other!r}."


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
