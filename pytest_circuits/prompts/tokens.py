"""What a tokenizer makes of prompts: whether each can be read, and asks for one token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import TypeAlias

from pytest_circuits.prompts.correspondence import apart, correspondence
from pytest_circuits.prompts.space import Pair, Prompt, PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.problems import Loc, Problem, listed, quoted
from pytest_circuits.spec.template import Hole, cue_name, cues, parse_template, template_loc
from pytest_circuits.spec.types import Ambiguous, Behavior

_PROMPT: Loc = ("behavior", "prompt")
_Found: TypeAlias = "tuple[str, Loc, str, str | None]"  # kind, place, text and hint


@dataclass(frozen=True, slots=True)
class _Reader:
    """How a model reads texts, remembered, for checks that ask the same again."""

    tokens: Callable[[str], list[int]]
    decode: Callable[[int], str] | None

    def shown(self, tokens: Sequence[int]) -> str:
        return listed(quoted(self.decode(token)) if self.decode else str(token) for token in tokens)


def check_prompts(
    loaded: LoadedSpec,
    encode: Callable[[str], list[int]],
    *,
    max_tokens: int,
    pairs: Iterable[Pair],
    decode: Callable[[int], str] | None = None,
) -> tuple[Problem, ...]:
    """Return why prompts cannot work with a tokenizer, by the shortest prompt.

    Of each kind one, and of each template where there are several.
    max_tokens: of the longest prompt that the model can read.
    decode: names the tokens in problems; without it they are numbers.
    """
    reader, behavior = _Reader(cache(encode), decode), loaded.spec.behavior
    found: dict[tuple[str, Loc, str], Problem] = {}
    for pair in sorted(pairs, key=lambda pair: len(pair.first.text)):
        faults = [*_faults(pair, reader, behavior, max_tokens)]
        if any(ablation.kind.from_partner for ablation in loaded.spec.ablations):
            faults += _not_corresponding(pair, reader, behavior)
        template = _template_of(pair, behavior) if faults else ""
        for kind, place, text, hint in faults:
            loc = template_loc(behavior, template) if template and place == _PROMPT else place
            said = text + f" (template {quoted(template)})" * bool(template)
            problem = loaded.problem_at(loc, said, hint, key=kind == "contrast")
            found.setdefault((kind, loc, template), problem)
    for loc, text in _ambiguous_faults(loaded.spec.disambiguate, reader, max_tokens):
        found["ambiguous", loc, ""] = loaded.problem_at(loc, text)
    return tuple(sorted(found.values(), key=lambda problem: (problem.line, problem.col)))


def _template_of(pair: Pair, behavior: Behavior) -> str:
    """Return the template that made a pair; empty where there is one, or it is not clear."""
    place = PromptSpace(behavior).locate(pair) if len(behavior.templates) > 1 else None
    return place[0].template if place else ""


def _ambiguous_faults(
    items: Iterable[Ambiguous], reader: _Reader, most: int
) -> Iterator[tuple[Loc, str]]:
    for index, item in enumerate(items):
        ids = reader.tokens(item.prompt)
        if not 0 < len(ids) <= most:
            text = f"the prompt {quoted(item.prompt)} has {len(ids)} tokens"
            yield ("disambiguate", index, "prompt"), f"{text}; the model reads 1 to {most}"
        for place, word in enumerate(item.between):
            if fault := _not_one_token(Prompt(item.prompt, *item.between), word, reader):
                yield ("disambiguate", index, "between", place), fault


def _faults(pair: Pair, reader: _Reader, behavior: Behavior, max_tokens: int) -> Iterator[_Found]:
    contrast = ("behavior", "contrast", cue_name(behavior))
    for prompt in (pair.first, pair.second):
        ids = reader.tokens(prompt.text)
        if not ids:
            hint = "make its text or its slots longer"
            yield "empty", _PROMPT, f"the prompt {quoted(prompt.text)} has no tokens", hint
        elif len(ids) > max_tokens:
            text = f"the prompt {quoted(prompt.text)} has {len(ids)} tokens"
            text += f"; the model reads at most {max_tokens}"
            yield "long", _PROMPT, text, "shorten its slots"
        for word in (prompt.answer, prompt.foil):
            if fault := _not_one_token(prompt, word, reader):
                cue = next(cue for cue, answer in cues(behavior) if answer == word)
                near = listed(map(quoted, _single_tokens(prompt, word, reader)))
                hint = "choose an answer that is one token there" + f", such as {near}" * bool(near)
                yield "token", (*contrast, cue), fault, hint
    first, second = reader.tokens(pair.first.text), reader.tokens(pair.second.text)
    if first == second:
        text = f"{quoted(pair.first.text)} and {quoted(pair.second.text)} are the same tokens"
        yield "contrast", contrast, f"a contrast that changes nothing: {text}", None
    answer = reader.tokens(pair.first.text + pair.first.answer)
    if answer == reader.tokens(pair.first.text + pair.first.foil):
        text = f"{quoted(pair.first.answer)} and {quoted(pair.first.foil)} are the same token"
        yield "contrast", contrast, f"a contrast that asks nothing: {text}", None


def _not_corresponding(pair: Pair, reader: _Reader, behavior: Behavior) -> Iterator[_Found]:
    """Give the fault of a pair in which an ablation cannot take its values from the partner."""
    first, second = reader.tokens(pair.first.text), reader.tokens(pair.second.text)
    hint = "give both cues as many tokens, or leave 'contrast' out of 'ablation'"
    if first and second and correspondence(first, second) is None:
        yield "apart", ("ablation",), apart(pair.first), hint
    elif len(first) != len(second) and _cues_in(pair, behavior) > 1:
        text = (
            f"{quoted(pair.first.text)} has {len(first)} tokens and its partner {len(second)}, and "
            "the cue stands in more than one place, so that it is not clear which correspond"
        )
        yield "apart", ("ablation",), text, hint


def _cues_in(pair: Pair, behavior: Behavior) -> int:
    """Return in how many places of its template the cue stands."""
    name = _template_of(pair, behavior)
    texts = [behavior.templates[name]] if name else behavior.templates.values()
    return max(parse_template(text).count(Hole(cue_name(behavior))) for text in texts)


def _single_tokens(prompt: Prompt, word: str, reader: _Reader) -> list[str]:
    """Return what is one token after a prompt and near a word that is not.

    How it begins, unless answer and foil begin alike: a model that wants to say the word says this
    first. And the same letters with or without a space before them, and a capital.
    """
    length = len(reader.tokens(prompt.text))
    both = [reader.tokens(prompt.text + each)[length:][:1] for each in (prompt.answer, prompt.foil)]
    begins = reader.tokens(prompt.text + word)[length:][:1]
    bare = word.strip()
    spelt = (bare, bare.lower(), bare.capitalize())
    near = [reader.decode(each) for each in begins if reader.decode and both[0] != both[1]]
    near += [before + letters for letters in spelt if letters for before in (" ", "")]
    return [
        text
        for text in dict.fromkeys(near)
        if text not in (prompt.answer, prompt.foil) and not _not_one_token(prompt, text, reader)
    ]


def _not_one_token(prompt: Prompt, word: str, reader: _Reader) -> str | None:
    """Return how a word fails to be one token more after a prompt, if it does."""
    ids, both = reader.tokens(prompt.text), reader.tokens(prompt.text + word)
    after = f"the answer {quoted(word)} is not one token after {quoted(prompt.text)}"
    if both[: len(ids)] != ids:
        same = next(i for i, (a, b) in enumerate(zip_longest(ids, both)) if a != b)
        return f"{after}: it merges with the end of the prompt into {reader.shown(both[same:])}"
    if len(both) != len(ids) + 1:
        return (
            f"{after}: it becomes {len(both) - len(ids)} tokens ({reader.shown(both[len(ids) :])})"
        )
    return None
