"""YAML from strangers: text to plain values with a mark for each, without YAML's traps.

Refused are anchors, aliases, tags, directives, merge keys, duplicate keys, a second document, and
whatever is too large. Scalars follow YAML 1.2, where `no` and `12:30` are text and `1e-3` a number;
`.nan` and `.inf` stay text, so that a schema refuses them. PyYAML's events are read without its
composer, which recurses: no text can exhaust the stack.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import yaml

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.problems import Problem, quoted
from pytest_circuits.spec.tree import Builder, Limits, Mark, StopReadingError, Tree
from pytest_circuits.system.files import read_bounded

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what PyYAML counts as a line
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What PyYAML says, and what a person who is new to YAML can act on.
_PLAIN_WORDS = (
    ("mapping values are not allowed", "a ':' where no key can stand", "indent or quote the text"),
    ("could not find expected ':'", "a key without its ':'", "write it as 'key: value'"),
    (r"'\t' that cannot start", "a tab where only spaces can stand", "use spaces"),
    (
        "cannot start any token",
        "a character that no value can begin with",
        "put the text in quotes",
    ),
    ("expected ',' or ']'", "a list that is not closed", "add the missing ',' or ']'"),
    ("expected ',' or '}'", "a mapping that is not closed", "add the missing ',' or '}'"),
    ("unexpected end of stream", "a quoted text that is not closed", "add the closing quote"),
    ("unexpected document separator", "a quoted text that is not closed", "add the closing quote"),
    ("expected '<document start>'", "text after the end of the specification", "remove it"),
    ("expected <block end>", "a line that does not fit the indentation", "align it with its list"),
    ("unknown escape character", "an escape that YAML does not know", r"write a backslash as '\\'"),
    ("expected escape sequence", "an escape that is not complete", r"write a backslash as '\\'"),
)


def read_yaml(path: Path, *, limits: Limits = Limits()) -> Tree:  # noqa: B008  (frozen)
    """Return the tree of a file; SpecError: it cannot be opened, is too large or is not UTF-8."""
    try:
        data = read_bounded(path, max_bytes=limits.size, error=SpecError)
    except (OSError, ValueError) as error:  # reading failed midway, or the path holds a NUL
        raise SpecError(f"{path}: cannot be read: {error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        col = error.start - data.rfind(b"\n", 0, error.start)
        raise SpecError(
            Problem(path, line + 1, col, "not UTF-8 text", "save the file as UTF-8")
        ) from None
    return parse_yaml(text, path=path, limits=limits)


def parse_yaml(text: str, *, path: Path, limits: Limits = Limits()) -> Tree:  # noqa: B008  (frozen)
    """Return the tree of a text; `path` is only named in problems."""
    tree = Tree(path, tuple(_LINE_END.split(text)))
    builder = Builder(tree, limits)
    with suppress(StopReadingError):
        if bad := _UNPRINTABLE.search(text):
            before = _LINE_END.split(text[: bad.start()])
            mark = Mark(len(before) - 1, len(before[-1]), 1)
            builder.stop(mark, f"the character {quoted(bad[0])} cannot stand in YAML")
        if len(text) > limits.size:
            builder.stop(Mark(0, 0, 1), f"larger than {limits.size:,} bytes")
        _read_events(text, builder)
        tree.complete = True
    tree.problems = tuple(builder.problems)
    return tree


def _read_events(text: str, builder: Builder) -> None:
    """Feed every event of the text to the builder, which may stop the reading."""
    loader = yaml.SafeLoader(text)
    documents = 0
    try:
        while loader.check_event():
            event = loader.get_event()  # type: ignore[no-untyped-call]
            mark = _mark(event)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    hint = "one file holds one specification: remove '---'"
                    builder.stop(mark, "a second document", hint)
                if event.version or event.tags:
                    builder.stop(mark, "directives ('%') are not read", "remove the line")
            elif isinstance(event, yaml.NodeEvent):
                _read_node(event, mark, builder)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                builder.stack.pop()
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(error, builder)
    except (ValueError, OverflowError):
        # PyYAML converts \U escapes and %YAML versions without checking their range.
        at = loader.get_mark()
        builder.stop(Mark(at.line, at.column, 1), "an escape or directive out of range")
    finally:
        loader.dispose()


def _read_node(event: yaml.NodeEvent, mark: Mark, builder: Builder) -> None:
    if isinstance(event, yaml.AliasEvent):
        if builder.wants_key():
            builder.stop(mark, "an alias cannot be a key", "write the text out")
        builder.tree.refused.add(builder.loc())
        builder.report(mark, f"aliases ({quoted(f'*{event.anchor}')}) are not read", "write it out")
        builder.put(None, mark)
        return
    if event.anchor:
        builder.report(mark, f"anchors ({quoted(f'&{event.anchor}')}) are not read", "remove it")
    if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag:
        if not builder.wants_key():
            builder.tree.refused.add(builder.loc())
        short = event.tag.replace("tag:yaml.org,2002:", "!!")
        builder.report(mark, f"tags ({quoted(short)}) are not read", "remove it")
    if isinstance(event, yaml.ScalarEvent):
        builder.scalar(event.value, mark, plain=bool(event.implicit[0]))
    else:
        builder.open([] if isinstance(event, yaml.SequenceStartEvent) else {}, mark)


def _mark(event: yaml.Event) -> Mark:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        return Mark(0, 0, 1)
    length = end.column - start.column if end.line == start.line else 1
    return Mark(start.line, start.column, max(1, length))


def _refuse_syntax(error: yaml.MarkedYAMLError, builder: Builder) -> None:
    """Record PyYAML's complaint in plain words, at the place where it noticed."""
    at = error.problem_mark or error.context_mark
    mark = Mark(at.line, at.column, 1) if at else Mark(0, 0, 1)
    said = error.problem or "cannot be read"
    for known, text, hint in _PLAIN_WORDS:
        if known in said:
            builder.stop(mark, f"not YAML: {text}", hint)
    builder.stop(mark, f"not YAML: {said}")
