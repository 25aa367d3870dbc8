"""Generated Python: what the bundled model learnt on, beside the standard library.

    python models/tinypython_text.py --out FOLDER [--seed 0] [--documents 3000]

Text of the standard library alone shows some behaviors of the bundled circuits too rarely for a
model that trains on a laptop; here they are frequent. A family is one small function from a random
generator to a few lines that compile. Document i depends on (seed, i) alone; it becomes a file of
FOLDER, which the trainer's `folder` source reads in the same order.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from numpy.random import Generator, Philox
from tinypython_words import (
    CALLS,
    CLASSES,
    DEFAULTS,
    EXTENSIONS,
    FUNCTIONS,
    HANDLES,
    NAMES,
    READ_STEMS,
    WORDS,
    WRITE_STEMS,
    body,
    chance,
    comment,
    condition,
    distinct,
    fields,
    indented,
    integer,
    integers,
    lines,
    name,
    number,
    one,
    phrase,
    quote,
    several,
    statement,
    value,
)


def quoted_call(rng: Generator) -> str:
    mark = quote(rng)
    return f"{one(rng, CALLS)}({mark}{phrase(rng)}{mark})"


def quoted_assignment(rng: Generator) -> str:
    mark = quote(rng)
    return f"{name(rng)} = {mark}{phrase(rng)}{mark}"


def format_call(rng: Generator) -> str:
    """`print(f"red north {name}")`: a format string has a name in braces after its words."""
    return f"{one(rng, CALLS)}({_format_string(rng)})"


def format_assignment(rng: Generator) -> str:
    return f"{name(rng)} = {_format_string(rng)}"


def _format_string(rng: Generator) -> str:
    mark = '"' if chance(rng, 0.8) else "'"
    after = f" {phrase(rng)}" if chance(rng, 0.25) else ""
    return f"f{mark}{phrase(rng)} {{{name(rng)}}}{after}{mark}"


def flat_list(rng: Generator) -> str:
    """`count = [3, 7, 11]`, sometimes after a comment."""
    return f"{_remark(rng)}{name(rng)} = [{integers(rng)}]"


def nested_list(rng: Generator) -> str:
    """`count = [[3, 7, 11]]`, mostly of one row, sometimes after a comment."""
    rows = 1 if chance(rng, 0.7) else 2
    return f"{_remark(rng)}{name(rng)} = [[{'], ['.join(integers(rng) for _ in range(rows))}]]"


def list_of_strings(rng: Generator) -> str:
    mark = _mark(rng)
    words = (f"{mark}{word}{mark}" for word in several(rng, WORDS, least=2, most=4))
    return f"{_remark(rng)}{name(rng)} = [{', '.join(words)}]"


def dict_literal(rng: Generator) -> str:
    mark, strings = _mark(rng), chance(rng, 0.25)
    pairs = (
        f"{mark}{key}{mark}: " + (f"{mark}{one(rng, WORDS)}{mark}" if strings else integer(rng))
        for key in several(rng, WORDS, least=1, most=3)
    )
    return f"{_remark(rng)}{name(rng)} = {{{', '.join(pairs)}}}"


def set_or_string(rng: Generator) -> str:
    """One variable that begins as `set()` or `""` and is extended later."""
    return _grown(rng, [name(rng)])


def current_set_or_string(rng: Generator) -> str:
    return _grown(rng, ["current"])


def set_and_string(rng: Generator) -> str:
    return _grown(rng, distinct(rng, NAMES, 2))


def _grown(rng: Generator, names: list[str]) -> str:
    kinds = {each: chance(rng, 0.5) for each in names}
    begin = "".join(f"{each} = {'set()' if kinds[each] else chr(34) * 2}\n" for each in names)
    text = begin + lines(rng)
    for each in distinct(rng, names, len(names)):
        uses = "\n".join(_use(rng, each, is_set=kinds[each]) for _ in range(number(rng, 1, 2)))
        if chance(rng, 0.2):
            uses = f"for {name(rng)} in {name(rng)}s:\n{indented(uses)}"
        text += f"{uses}\n"
    return text.removesuffix("\n")


def _use(rng: Generator, variable: str, *, is_set: bool) -> str:
    return f"{variable}.add({name(rng)})" if is_set else f"{variable} += {name(rng)}"


def _mark(rng: Generator) -> str:
    return quote(rng) if chance(rng, 0.4) else '"'


def _remark(rng: Generator) -> str:
    return f"{comment(rng)}\n" if chance(rng, 0.1) else ""


def for_loop(rng: Generator) -> str:
    kind = rng.random()
    if kind < 0.35:
        header = f"for {name(rng)} in range({value(rng)}):"
    elif kind < 0.7:
        header = f"for {name(rng)}, {name(rng)} in enumerate({name(rng)}s):"
    elif kind < 0.75:
        header = f"for {name(rng)}, {name(rng)} in {name(rng)}s:"
    else:
        header = f"for {name(rng)} in {name(rng)}s:"
    return f"{header}\n{body(rng)}"


def while_loop(rng: Generator) -> str:
    test = name(rng) if chance(rng, 0.5) else condition(rng)
    return f"while {test}:\n{body(rng)}"


def loop_after_or_in_function(rng: Generator) -> str:
    inner = f"{lines(rng, most=1)}{statement(rng)}"
    function = f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}\n"
    loop = for_loop(rng)
    return function + (indented(loop) if chance(rng, 0.5) else loop)


def branches(rng: Generator) -> str:
    text = f"if {condition(rng)}:\n{body(rng)}"
    kind = rng.random()
    if kind < 0.6:
        test = f"not {name(rng)}" if chance(rng, 0.3) else condition(rng)
        text += f"\nelif {test}:\n{body(rng)}"
    if kind > 0.4:
        text += f"\nelse:\n{body(rng)}"
    return text


def if_statement(rng: Generator) -> str:
    test = f"{name(rng)} == {value(rng)}" if chance(rng, 0.5) else name(rng)
    return f"if {test}:\n{body(rng)}"


def ternary(rng: Generator) -> str:
    """`total = count if ready else 0`, or the same returned from a function."""
    test = name(rng) if chance(rng, 0.7) else condition(rng)
    expression = f"{value(rng)} if {test} else {value(rng)}"
    if chance(rng, 0.5):
        return f"{name(rng)} = {expression}"
    inner = f"{lines(rng, most=1)}return {expression}"
    return f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}"


def if_in_function(rng: Generator) -> str:
    """A function whose first or second line is an `if` or an assignment by a ternary."""
    inner = lines(rng, most=1)
    if chance(rng, 0.5):
        inner += f"if {name(rng)}:\n{body(rng)}"
    else:
        inner += f"{name(rng)} = {value(rng)} if {name(rng)} else {value(rng)}"
    return f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}"


def truth(rng: Generator) -> str:
    """`if item == True:`, `state = item == True` or `item = True`."""
    constant = "True" if chance(rng, 0.7) else "False"
    kind = rng.random()
    if kind < 0.45:
        return f"if {name(rng)} == {constant}:\n{body(rng)}"
    if kind < 0.8:
        return f"{name(rng)} = {name(rng)} == {constant}"
    return f"{name(rng)} = {constant}"


def assignment(rng: Generator) -> str:
    return f"{lines(rng)}{name(rng)} = {one(rng, (name(rng), integer(rng)))}"


def arguments(rng: Generator) -> str:
    """A function whose arguments have no defaults, all have one, or the last of them have."""
    names = distinct(rng, NAMES, number(rng, 1, 4))
    kind = rng.random()
    plain = len(names) if kind < 0.5 else 0 if kind < 0.9 else number(rng, 0, len(names))
    default = one(rng, DEFAULTS)
    listed = [*names[:plain], *(f"{each}={default}" for each in names[plain:])]
    return f"def {_function(rng)}({', '.join(listed)}):\n{body(rng)}"


def true_in_function(rng: Generator) -> str:
    inner = lines(rng, most=1)
    if chance(rng, 0.5):
        inner += f"while True:\n{body(rng)}"
    else:
        inner += f"return {one(rng, ('True', 'True', 'False', name(rng)))}"
    parameter = name(rng) if chance(rng, 0.3) else ""
    return f"def {_function(rng)}({parameter}):\n{indented(inner)}"


def while_true(rng: Generator) -> str:
    return f"while True:\n{body(rng)}"


def lambda_function(rng: Generator) -> str:
    names = distinct(rng, NAMES, 1 if chance(rng, 0.8) else 2)
    return f"{name(rng)} = lambda {', '.join(names)}: {names[-1]} + {value(rng)}"


def named_function(rng: Generator) -> str:
    parameter = name(rng)
    returned = indented(f"return {parameter} + {value(rng)}")
    return f"def {name(rng)}({parameter}):\n{returned}"


def swap(rng: Generator) -> str:
    """`left, right = right, left`, after up to two lines."""
    first, second = fields(rng, 2)
    return f"{lines(rng)}{first}, {second} = {second}, {first}"


def swap_in_block(rng: Generator) -> str:
    first, second = fields(rng, 2)
    header = one(rng, (f"if {first} > {second}:", f"while {first}:", f"if {second}:"))
    return f"{header}\n{indented(f'{first}, {second} = {second}, {first}')}"


def pair(rng: Generator) -> str:
    """`left, right = 3, 7`: two targets that are not swapped."""
    first, second = fields(rng, 2)
    return f"{first}, {second} = {integer(rng)}, {integer(rng)}\n{statement(rng)}"


def _function(rng: Generator) -> str:
    return one(rng, FUNCTIONS) if chance(rng, 0.5) else name(rng)


def open_variable(rng: Generator) -> str:
    """`with open(path) as line:` or `line = open(path)`."""
    function = "open" if chance(rng, 0.85) else one(rng, FUNCTIONS)
    return _opened(rng, f"{function}({name(rng)})", variable=name(rng))


def open_by_name(rng: Generator) -> str:
    """`with open("input_red.txt", "r") as file:`: the name tells the mode."""
    stems, mode = (READ_STEMS, "r") if chance(rng, 0.5) else (WRITE_STEMS, "w")
    stem, word = one(rng, stems), one(rng, WORDS[:24])  # the words after these are stems too
    shown = one(rng, (stem, f"{stem}_{word}", f"{stem}_{word}", f"{word}_{stem}"))
    mark = '"' if chance(rng, 0.8) else "'"
    call = f"open({mark}{shown}.{one(rng, EXTENSIONS)}{mark}, {mark}{mode}{mark})"
    return _opened(rng, call, variable=one(rng, HANDLES))


def _opened(rng: Generator, call: str, *, variable: str) -> str:
    if chance(rng, 0.5):
        return f"with {call} as {variable}:\n{body(rng)}"
    return f"{variable} = {call}"


def class_init(rng: Generator) -> str:
    """`self.name = name` for every argument, in any order; some classes keep a constant too."""
    count = number(rng, 1, 4)
    *names, spare = fields(rng, count + 1)
    kept = [f"self.{each} = {each}" for each in names]
    if chance(rng, 0.3):
        kept = distinct(rng, kept, count)
    if chance(rng, 0.2):
        kept.insert(number(rng, 0, count), f"self.{spare} = {one(rng, ('None', integer(rng)))}")
    header = f"def __init__(self, {', '.join(names)}):"
    method = header + "\n" + indented("\n".join(kept))
    return f"class {one(rng, CLASSES)}:\n{indented(method)}"


# Tasks that need a name to be found again weigh more: they are learnt last.
FAMILIES: Final[dict[Callable[[Generator], str], int]] = {
    quoted_call: 4,
    quoted_assignment: 1,
    format_call: 4,
    format_assignment: 1,
    flat_list: 3,
    nested_list: 3,
    list_of_strings: 2,
    dict_literal: 3,
    set_or_string: 5,
    current_set_or_string: 3,
    set_and_string: 2,
    for_loop: 6,
    while_loop: 2,
    loop_after_or_in_function: 4,
    branches: 3,
    if_statement: 2,
    ternary: 2,
    if_in_function: 2,
    truth: 4,
    assignment: 1,
    arguments: 6,
    true_in_function: 4,
    while_true: 1,
    lambda_function: 2,
    named_function: 2,
    swap: 10,
    swap_in_block: 2,
    pair: 1,
    open_variable: 3,
    open_by_name: 7,
    class_init: 9,
}
_DRAWN = tuple(family for family, weight in FAMILIES.items() for _ in range(weight))


def _drawn(rng: Generator) -> str:
    return _DRAWN[int(rng.integers(len(_DRAWN)))](rng)


def _block(rng: Generator) -> str:
    header = one(
        rng,
        (
            f"def {one(rng, FUNCTIONS)}({name(rng)}):",
            f"if {condition(rng)}:",
            f"for {name(rng)} in {name(rng)}s:",
            f"while {condition(rng)}:",
        ),
    )
    inside = "\n".join(_drawn(rng) for _ in range(number(rng, 1, 3)))
    return f"{header}\n{indented(inside)}"


def document(*, seed: int, index: int, characters: int = 4000) -> str:
    """At least that many characters of statements, one after the other: a valid module.

    Every sixth of them is a block of a few, one level deeper.
    """
    rng, text = Generator(Philox(key=[seed, index])), ""
    while len(text) < characters:
        text += (_block(rng) if chance(rng, 1 / 6) else _drawn(rng)) + "\n"
    return text


def write(folder: Path, *, seed: int, documents: int) -> None:
    """A file a document, in their order; the folder appears whole or not at all."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for index in range(documents):
        (unfinished / f"{index:08}.py").write_bytes(document(seed=seed, index=index).encode())
    unfinished.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the generated text of the bundled model.")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--documents", type=int, default=3000, help="default: 3000")
    given = parser.parse_args()
    if given.seed < 0 or given.documents < 1:
        parser.error("--seed is a whole number from 0, --documents one from 1")
    if given.out.exists():
        parser.error(f"{given.out} is there; name a new folder, nothing is overwritten")
    write(given.out, seed=given.seed, documents=given.documents)
    print(f"{given.out}: {given.documents:,} documents")


if __name__ == "__main__":
    main()
