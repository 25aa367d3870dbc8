"""All families in one place, and how often each of them is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from numpy.random import Generator

from pytest_circuits.train.lines import classes, files, flow, functions, literals, strings

Family: TypeAlias = Callable[[Generator], str]

# Tasks that need a name to be found again weigh more: they are learnt last.
FAMILIES: Final[dict[Family, int]] = {
    strings.quoted_call: 4,
    strings.quoted_assignment: 1,
    strings.format_call: 4,
    strings.format_assignment: 1,
    literals.flat_list: 3,
    literals.nested_list: 3,
    literals.list_of_strings: 2,
    literals.dict_literal: 3,
    literals.set_or_string: 5,
    literals.current_set_or_string: 3,
    literals.set_and_string: 2,
    flow.for_loop: 6,
    flow.while_loop: 2,
    flow.loop_after_or_in_function: 4,
    flow.branches: 3,
    flow.if_statement: 2,
    flow.ternary: 2,
    flow.if_in_function: 2,
    flow.truth: 4,
    flow.assignment: 1,
    functions.arguments: 6,
    functions.true_in_function: 4,
    functions.while_true: 1,
    functions.lambda_function: 2,
    functions.named_function: 2,
    functions.swap: 10,
    functions.swap_in_block: 2,
    functions.pair: 1,
    files.open_variable: 3,
    files.open_by_name: 7,
    classes.class_init: 9,
}
