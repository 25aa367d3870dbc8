"""Writes the pages of `docs/reference` from the code; a test holds them to it.

    python docs/make_reference.py

What has no description raises ValueError.
"""

from __future__ import annotations

import inspect
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import click
import yaml

from pytest_circuits.claims.evidence import (
    Asked,
    Cause,
    Controls,
    Counterexample,
    Curve,
    Evidence,
    Law,
    Rate,
    Seen,
    Worst,
)
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.cli import COMMANDS, main
from pytest_circuits.gate.settings import add_options
from pytest_circuits.report.grade import Grade
from pytest_circuits.report.run import (
    Artifact,
    Baseline,
    Circuit,
    File,
    Matched,
    Meaning,
    Place,
    Refusal,
    Waiver,
)
from pytest_circuits.spec.schema import Schema, json_schema

OPTIONS = """# Options of pytest

What each is for: [gate a release](../gate.md). Without `--circuits` none does anything.
"""
INI = """## In the ini file

The same in `pytest.ini`, or under `[tool.pytest.ini_options]` of `pyproject.toml`. The command line
wins. Paths are relative to the file.
"""
COMMANDS_OF = """# Commands

The gate itself is `pytest --circuits` ([its options](options.md)). What an exit code means:
[gate a release](../gate.md#exit-codes).
"""
KEYS = """# Keys of a specification

How to write one: [write a specification](../specification.md). Each example is of
[a file that has every key](every_key.circuit.yaml). A key that is not here is an error.
"""
CLAIMS_OF = """# Claims

What each one shows, and what it does not see: [the claims](../claims.md). *rate*: whether it must
be at least or at most its limit. *law*: whether a single prompt can break the claim, so that one is
searched for. *counts for*: the part of the grade that needs it.
"""
RECORD_OF = """# The evidence record

`--circuits-report FILE` writes it, as JSON. Keys are sorted. A number is finite, or null with a
reason beside it. No path is absolute. `pytest-circuits report` makes every output from it.

A circuit has the fields of [Circuit](#circuit), its `grade` ([Grade](#grade)) and its `claims`.
A claim has the fields of [Evidence](#evidence) and three more: `nodeid`, its name for pytest;
`state`, how far it came; `waived`, until when a waiver lets it through and why, or null.
"""
Part = dict[str, Any]  # of a JSON Schema
FOLDER = Path(__file__).parent / "reference"
EVERY_KEY = FOLDER / "every_key.circuit.yaml"
_IN_WORDS = re.compile(r"; default: (.+?)\.(?= |$)")  # the default of an option, in its help
_DEFAULT = re.compile(r" \(default: ([^()]*)\)$")


def pages() -> dict[str, str]:
    """The text of each page by its file."""
    makers: dict[str, Callable[[], Iterator[str]]] = {
        "options.md": _options,
        "commands.md": _commands,
        "keys.md": _keys,
        "claims.md": _claims,
        "record.md": _record,
    }
    return {name: "\n".join(maker()).rstrip() + "\n" for name, maker in makers.items()}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    for cells in lines:
        texts = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
        yield f"| {' | '.join(texts)} |"
    yield ""


def _told(text: str | None, of: str) -> str:
    """A description; ValueError where there is none."""
    if not (text or "").strip():
        raise ValueError(f"{of} has no description")
    return str(text)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


class _Options:
    """Notes what a parser of pytest is told."""

    def __init__(self) -> None:
        self.options: list[list[str]] = []
        self.keys: list[list[str]] = []

    def getgroup(self, *_: str) -> _Options:
        return self

    def addoption(self, name: str, *, help: str, **more: Any) -> None:  # noqa: A002
        text, default = _split(_told(help, name))
        value = more.get("metavar") or (f"{{{','.join(c)}}}" if (c := more.get("choices")) else "")
        self.options.append([_code(f"{name} {value}".strip()), _code(default), text])

    def addini(self, name: str, help: str, **more: Any) -> None:  # noqa: A002
        text, default = _split(_told(help, name))
        kind = {"args": "words", "bool": "`true` or `false`"}.get(str(more.get("type")), "text")
        self.keys.append([_code(name), kind, _code(default), text])


def _split(text: str) -> tuple[str, str]:
    found = _DEFAULT.search(text)
    return (text[: found.start()], found[1]) if found else (text, "")


def _options() -> Iterator[str]:
    told: Any = _Options()
    add_options(told)
    yield OPTIONS
    yield from _table(("option", "default", "what it does"), told.options)
    yield INI
    yield from _table(("key", "value", "default", "what it does"), told.keys)


def _commands() -> Iterator[str]:
    yield COMMANDS_OF
    context = click.Context(main, info_name="pytest-circuits")
    for name in sorted(COMMANDS):
        command: Any = main.get_command(context, name)
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f"## {name}\n"
        yield f"`pytest-circuits {name} {usage}`\n"
        yield f"{inspect.cleandoc(_told(command.help, name))}\n"
        options = [each for each in command.params if isinstance(each, click.Option)]
        if options:
            rows = (_option(each, inner, name) for each in options)
            yield from _table(("option", "default", "what it does"), rows)


def _option(option: click.Option, context: click.Context, command: str) -> list[str]:
    names = " / ".join((*option.opts, *option.secondary_opts))
    kind, default = option.type, option.to_info_dict()["default"]
    is_range = isinstance(kind, click.IntRange)
    value = "" if option.is_flag else f" {'N' if is_range else option.make_metavar(context)}"
    text = _told(option.help, f"{command} {names}")
    if found := _IN_WORDS.search(text):
        given, text = found[1], text.replace(found[0], ".")
    elif option.secondary_opts:
        given = _code(option.opts[0] if default else option.secondary_opts[0])
    else:
        is_said = isinstance(default, int | str) and not option.is_flag
        given = "needed" if option.required else _code(str(default) if is_said else "")
    if isinstance(kind, click.IntRange):
        text += f" From {kind.min} to {kind.max}." if kind.max else f" From {kind.min}."
    return [_code(names + value), given, text]


def _keys() -> Iterator[str]:
    schema, example = Schema(json_schema()), yaml.safe_load(EVERY_KEY.read_text(encoding="utf-8"))
    example["undeclared"] = {"faithful": "fails: ..."}  # no claim can be that and declared
    yield KEYS
    yield from _section("", schema.root, example, schema)


def _section(place: str, part: Part, example: Any, schema: Schema) -> Iterator[str]:
    """A table of what a mapping holds, then the same of each mapping in it."""
    rows, inner = [], []
    for name, given in part["properties"].items():
        where, held = f"{place}.{name}".strip("."), _resolved(given, schema)
        value = example.get(name)
        if value is None:
            raise ValueError(f"{where} has no example in {EVERY_KEY.name}")
        default = _code(_flow(held.get("default")))
        kind = _kind(given, schema)
        if name in part.get("required", ()):
            kind += "; needed"
        elif default:
            kind += f"; default {default}"
        rows.append(
            (
                _code(name),
                kind,
                _told(held.get("description"), where),
                _code(_flow(value)),
            )
        )
        inner += list(_mappings(where, given, value, schema))
    if place:
        yield f"## {place}\n"
        yield f"{_told(part.get('description'), place)}\n"
    yield from _table(("key", "value", "what it says", "example"), rows)
    for where, held, value in inner:
        yield from _section(where, held, value, schema)


def _mappings(
    where: str,
    given: Part,
    example: Any,
    schema: Schema,
) -> Iterator[tuple[str, Part, Any]]:
    """The mappings of named keys that a place may hold, with what the example has there."""
    part = _resolved(given, schema)
    if where in {"undeclared", "waivers"}:  # the same of each claim
        ((claim, value),) = example.items()
        yield from _mappings(f"{where}.CLAIM", part["properties"][claim], value, schema)
    elif "properties" in part:
        yield where, part, example
    elif part.get("type") == "array" and isinstance(example, list):
        yield from _mappings(where, part.get("items", {}), example[0], schema)
    else:
        every = (part, *part.get("anyOf", ()))
        held = [each for one in every for each in one.get("patternProperties", {}).values()]
        held.append(part.get("additionalProperties"))
        kinds = [kind for each in held if isinstance(each, dict) for kind in each.get("oneOf", ())]
        for kind in kinds:
            (key,) = _resolved(kind, schema)["properties"]
            value = next(each for each in example.values() if key in each)
            yield from _mappings(f"{where}.NAME: {key}", kind, value, schema)
        for each in held:
            if isinstance(each, dict) and "properties" in _resolved(each, schema):
                yield f"{where}.NAME", _resolved(each, schema), next(iter(example.values()))


def _resolved(part: Part, schema: Schema) -> Part:
    named = part.get("$ref", "").rpartition("/")[2]
    return {**schema.root["$defs"][named], **part} if named else part


def _flow(value: object, *, most: int = 48) -> str:
    if value is None or value in ([], {}):
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    text = text.removesuffix("...\n").strip()
    return text if len(text) <= most else f"{text[:most]}…"


def _kind(given: Part, schema: Schema) -> str:
    """What a place may hold, in words."""
    part = _resolved(given, schema)
    several = part.get("anyOf") or part.get("oneOf")
    if "const" in part or "enum" in part:
        return ", ".join(_code(str(each)) for each in part.get("enum", [part.get("const")]))
    if several:
        return " or ".join(dict.fromkeys(_kind(each, schema) for each in several))
    if "properties" in part:
        return "mapping"
    if part.get("type") == "array":
        return _list(part, schema)
    if part.get("type") == "object":
        inner = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
        return f"{_kind(next(each for each in inner if isinstance(each, dict)), schema)}, by name"
    kind = {
        "string": "text",
        "number": "number",
        "integer": "integer",
        "boolean": "`true` or `false`",
    }
    kind["string"] = "day" if part.get("format") == "date" else "text"
    return kind[part["type"]] + _range(part)


def _list(part: Part, schema: Schema) -> str:
    if "prefixItems" in part:
        return f"[{', '.join(_kind(each, schema) for each in part['prefixItems'])}]"
    return f"list of {_kind(part['items'], schema)}"


def _range(part: Part) -> str:
    words = (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    )
    return "".join(f" {word} {part[key]:g}" for key, word in words if key in part)


def _claims() -> Iterator[str]:
    schema = Schema(json_schema())
    yield CLAIMS_OF
    rows = []
    for name, card in CLAIMS.items():
        rows.append(
            (
                f"[`{name}`](keys.md#claims{name})",
                _told(card.sentence, name),
                "circuit" if card.needs_nodes else "whole model",
                "at most" if card.at_most else "at least",
                "yes" if card.law else "no",
                card.tier or "",
                ", ".join(map(_code, schema.keys_at(("claims", name)))),
            )
        )
    head = ("claim", "sentence", "about", "rate", "law", "counts for", "limits")
    yield from _table(head, rows)


RECORD = {
    "schema_version": "The version of this format.",
    "verdict": "Of the run: `pass` only where every claim of every circuit passes.",
    "claims": "What each claim says, by its name: [Meaning](#meaning).",
    "tool": "`name` and `version` of what made the record.",
    "versions": "Of Python and of the libraries that evidence may depend on.",
    "refused": "Specifications that cannot be used.",
    "refusals": "And why: [Refusal](#refusal).",
    "device": "The devices that models were on.",
    "model": "The candidate: [Artifact](#artifact), with a `reason` where there is none.",
    "baseline": "The model that it was compared with: [Artifact](#artifact).",
    "circuits": "What was put to the test: [Circuit](#circuit), its `grade` and its `claims`.",
    "run": "What depends on when, where and how fast it ran; the rest is the same in each run.",
}
_SHOWN = (
    *(Circuit, Evidence, Rate, Law, Counterexample, Cause, Worst, Asked, Seen, Controls, Curve),
    *(Grade, Baseline, Artifact, File, Matched, Waiver, Meaning, Refusal, Place),
)


_WORDS = (
    (r"tuple\[(.*), \.\.\.\]", r"list of \1"),
    (r"dict\[str, (.*)\]", r"\1, by name"),
    (r"tuple\[(.*)\]", r"[\1]"),
    (r"\bstr\b", "text"),
    (r"\b(float|Number)\b", "number"),
    (r"\bint\b", "integer"),
    (r"\bbool\b", "true or false"),
    (r"\bOrdered\b", "list of pairs"),
    (r"\b(Verdict|State|Level)\b", "word"),
    (r"Literal\['(.*)', '(.*)'\]", r"`\1` or `\2`"),
)


def _record() -> Iterator[str]:
    yield RECORD_OF
    rows = ([_code(name), text] for name, text in RECORD.items())
    yield from _table(("field", "what it says"), rows)
    for kind in _SHOWN:
        yield f"## {kind.__name__}\n"
        yield f"{inspect.cleandoc(_told(kind.__doc__, kind.__name__)).splitlines()[0]}\n"
        notes = notes_of(kind)
        rows = []
        for each in fields(kind):
            if each.name == "groups":  # of a rate: in a record they are measures
                continue
            text = _told(notes.get(each.name), f"{kind.__name__}.{each.name}")
            rows.append((_code(each.name), _of_json(str(each.type)), text))
        yield from _table(("field", "value", "what it says"), rows)


def _of_json(kind: str) -> str:
    """The type of a field in words of JSON, with links to those that have a table."""
    text = kind.replace(" | None", " or null")
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    for each in _SHOWN:
        text = re.sub(rf"\b{each.__name__}\b", f"[{each.__name__}](#{each.__name__.lower()})", text)
    return text


def notes_of(kind: type[Any]) -> Mapping[str, str]:
    """The comment that stands beside each field of a class, in its source."""
    found, name = {}, ""
    for token in tokenize.generate_tokens(StringIO(inspect.getsource(kind)).readline):
        if token.type == tokenize.NAME and token.start[1] == 4:
            name = token.string
        elif token.type == tokenize.COMMENT and name:
            found[name] = token.string.removeprefix("#").strip()
    return found


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
