"""Generated Python: short statements in which the behaviors of the bundled circuits occur often.

Standard-library text alone shows some of them too rarely for a model that trains on a laptop. Each
family is one small function from a random generator to a few lines of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.random import Generator


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "item value result data name key index total count node state config user path line text"
    " token group table field option record buffer message response current level score"
)
WORDS = _words(
    "alpha beta gamma delta hello world error warning done start stop open close left right red"
    " green blue north south first second last empty full input output ready failed"
)
CALLS = _words("print log show warn send write emit display")
FUNCTIONS = _words("load save build parse update check find make read run")


def _one(rng: Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _several(rng: Generator, options: Sequence[str], *, least: int, most: int) -> list[str]:
    return [_one(rng, options) for _ in range(int(rng.integers(least, most + 1)))]


def _quote(rng: Generator) -> str:
    return _one(rng, ("'", '"'))


def _integer(rng: Generator) -> str:
    return str(int(rng.integers(0, 100)))


def _integers(rng: Generator, *, most: int = 6) -> str:
    return ", ".join(_integer(rng) for _ in range(int(rng.integers(1, most + 1))))


def _phrase(rng: Generator) -> str:
    return " ".join(_several(rng, WORDS, least=1, most=4))


def _statement(rng: Generator) -> str:
    """One line without quotes or brackets, for bodies and between other lines."""
    name, other = _one(rng, NAMES), _one(rng, NAMES)
    return _one(
        rng,
        (
            f"{name} = {_integer(rng)}",
            f"{name} = {other}",
            f"{name} += 1",
            f"{_one(rng, FUNCTIONS)}({name})",
        ),
    )


def _between(rng: Generator) -> str:
    """Up to two plain lines, each ending in a newline."""
    return "".join(f"{_statement(rng)}\n" for _ in range(int(rng.integers(0, 3))))


def _quoted_call(rng: Generator) -> str:
    quote = _quote(rng)
    return f"{_one(rng, CALLS)}({quote}{_phrase(rng)}{quote})"


def _quoted_assignment(rng: Generator) -> str:
    quote = _quote(rng)
    return f"{_one(rng, NAMES)} = {quote}{_phrase(rng)}{quote}"


def _flat_list(rng: Generator) -> str:
    return f"{_one(rng, NAMES)} = [{_integers(rng)}]"


def _nested_list(rng: Generator) -> str:
    rows = 1 if rng.random() < 0.7 else 2
    return f"{_one(rng, NAMES)} = [[{'], ['.join(_integers(rng) for _ in range(rows))}]]"


def _set_then_add(rng: Generator) -> str:
    name = _one(rng, NAMES)
    return f"{name} = set()\n{_between(rng)}{name}.add({_one(rng, NAMES)})"


def _string_then_append(rng: Generator) -> str:
    name = _one(rng, NAMES)
    return f'{name} = ""\n{_between(rng)}{name} += {_one(rng, NAMES)}'


def _current_set(rng: Generator) -> str:
    return f"current = set()\n{_between(rng)}current.add({_one(rng, NAMES)})"


def _current_string(rng: Generator) -> str:
    return f'current = ""\n{_between(rng)}current += {_one(rng, NAMES)}'


def _dict_of_numbers(rng: Generator) -> str:
    pairs = (f'"{key}": {_integer(rng)}' for key in _several(rng, WORDS, least=1, most=3))
    return f"{_one(rng, NAMES)} = {{{', '.join(pairs)}}}"


def _list_of_strings(rng: Generator) -> str:
    words = (f'"{word}"' for word in _several(rng, WORDS, least=2, most=4))
    return f"{_one(rng, NAMES)} = [{', '.join(words)}]"


def _for_loop(rng: Generator) -> str:
    return f"for {_one(rng, NAMES)} in {_one(rng, NAMES)}s:\n    {_statement(rng)}"


def _for_range(rng: Generator) -> str:
    return f"for {_one(rng, NAMES)} in range({_integer(rng)}):\n    {_statement(rng)}"


def _for_enumerate(rng: Generator) -> str:
    index, value = _one(rng, NAMES), _one(rng, NAMES)
    return f"for {index}, {value} in enumerate({_one(rng, NAMES)}s):\n    {_statement(rng)}"


def _while_loop(rng: Generator) -> str:
    return f"while {_one(rng, NAMES)}:\n    {_statement(rng)}"


def _while_true(rng: Generator) -> str:
    return f"while True:\n    {_statement(rng)}"


def _return_true(rng: Generator) -> str:
    return f"def {_one(rng, FUNCTIONS)}():\n    return {_one(rng, ('True', 'True', 'False'))}"


def _lambda_function(rng: Generator) -> str:
    name = _one(rng, NAMES)
    return f"{_one(rng, NAMES)} = lambda {name}: {name} + {_integer(rng)}"


def _named_function(rng: Generator) -> str:
    name = _one(rng, NAMES)
    return f"def {_one(rng, NAMES)}({name}):\n    return {name} + {_integer(rng)}"


def _with_open(rng: Generator) -> str:
    return f"with open({_one(rng, NAMES)}) as {_one(rng, NAMES)}:\n    {_statement(rng)}"


def _plain_open(rng: Generator) -> str:
    return f"{_one(rng, NAMES)} = open({_one(rng, NAMES)})"


def _plain_arguments(rng: Generator) -> str:
    return f"def {_one(rng, FUNCTIONS)}({', '.join(_several(rng, NAMES, least=1, most=4))}):"


def _defaulted_arguments(rng: Generator) -> str:
    names = _several(rng, NAMES, least=1, most=4)
    return f"def {_one(rng, FUNCTIONS)}({', '.join(f'{name}=None' for name in names)}):"


def _comparison(rng: Generator) -> str:
    return f"if {_one(rng, NAMES)} == {_one(rng, NAMES)}:\n    {_statement(rng)}"


def _assignment(rng: Generator) -> str:
    return _statement(rng)


FAMILIES: tuple[Callable[[Generator], str], ...] = (
    *(_quoted_call, _quoted_call, _quoted_assignment, _flat_list, _flat_list),
    *(_nested_list, _nested_list),
    *(_set_then_add, _string_then_append, _current_set, _current_string),
    *(_dict_of_numbers, _list_of_strings, _for_loop, _for_range, _for_enumerate, _while_loop),
    *(_while_true, _return_true, _lambda_function, _named_function, _with_open, _plain_open),
    *(_plain_arguments, _defaulted_arguments, _comparison, _assignment),
)


def generate(rng: Generator, *, characters: int) -> str:
    """At least that many characters of generated statements, one after the other."""
    parts: list[str] = []
    length = 0
    while length < characters:
        text = FAMILIES[int(rng.integers(len(FAMILIES)))](rng) + "\n"
        parts.append(text)
        length += len(text)
    return "".join(parts)
