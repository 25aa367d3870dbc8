"""Which text a model is trained on: the `data` part of a training configuration.

A source is a mapping with one key, its kind, as a slot of a specification is; so that a mistake
inside it is shown at its own line and column.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, model_validator

from pytest_circuits.spec.frozen import Frozen, Name

KINDS = ("library", "folder", "jsonl", "tokens")
_T = TypeVar("_T")


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL character")
    return path


def _dotted(suffix: str) -> str:
    if not suffix.startswith(".") or "/" in suffix:
        raise ValueError(f"a suffix begins with a dot, such as '.py', not as {suffix!r} does")
    return suffix


def _some(items: tuple[_T, ...]) -> tuple[_T, ...]:
    """A length in the type would also be checked of the items that are right, and echo the rest."""
    if not items:
        raise ValueError("the list is empty; name at least one, or leave the key out")
    return items


Path: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=4096), AfterValidator(_without_nul)
]  # relative paths start at the folder of the configuration file
_Suffix = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_dotted)]
_Text = Annotated[str, Field(min_length=1, max_length=4096)]


class _Weighted(Frozen):
    share: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0  # weight of its rows in a batch
    name: Name | None = None  # in reports and file names; default: the kind, numbered


class Library(_Weighted):
    """The standard library of the interpreter, without its tests."""

    modules: Annotated[int, Field(ge=2)] | None = None  # the first so many; null: all


class Folder(_Weighted):
    """A folder of text or code files; hidden files and links are left out."""

    path: Path
    suffixes: Annotated[tuple[_Suffix, ...], Field(strict=False), AfterValidator(_some)] = (
        ".md",
        ".py",
        ".txt",
    )
    separator: _Text | None = None  # text between the documents of a file; null: a file is one
    errors: Literal["strict", "replace"] = "strict"  # bytes that are not UTF-8: refuse | U+FFFD


class JsonLines(_Weighted):
    """A file with one JSON object a line, whose field is the text of a document."""

    path: Path
    field: _Text = "text"


class Tokens(_Weighted):
    """An array of token ids: `.npy` of one dimension, or raw little-endian `.bin`."""

    path: Path
    dtype: Literal["uint16", "uint32"] | None = None  # of a .bin; a .npy says its own

    @model_validator(mode="after")
    def _type_is_known_once(self) -> Tokens:
        if not self.path.endswith((".npy", ".bin")):
            raise ValueError(f"path must end in .npy or .bin, and {self.path!r} does not")
        raw = self.path.endswith(".bin")
        if raw and self.dtype is None:
            raise ValueError("a .bin file needs its dtype: uint16 or uint32")
        if not raw and self.dtype is not None:
            raise ValueError("a .npy file says its own dtype; remove the key")
        return self


class Source(Frozen):
    """Where documents come from: exactly one of the kinds."""

    library: Library | None = None
    folder: Folder | None = None
    jsonl: JsonLines | None = None
    tokens: Tokens | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_not_generated(cls, values: Any) -> Any:  # noqa: ANN401  (whatever was given)
        if isinstance(values, dict) and "generated" in values:
            raise ValueError(
                "the source 'generated' is a script now: run 'python models/tinypython_text.py "
                "--out FOLDER' in the repository of pytest-circuits, with --seed and --documents "
                "as they were here, and name 'folder: {path: FOLDER}'; the documents are the same"
            )
        return values

    @model_validator(mode="after")
    def _is_one_kind(self) -> Source:
        found = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(found) != 1:
            has = f"this one is {' and '.join(found)}" if found else "this one is none"
            raise ValueError(f"a source is one of {', '.join(KINDS)}; {has}")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def settings(self) -> Library | Folder | JsonLines | Tokens:
        found: Library | Folder | JsonLines | Tokens = getattr(self, self.kind)
        return found


class Vocabulary(Frozen):
    """The tokenizer: byte-level BPE learnt on the sources, or one that is there."""

    vocab_size: Annotated[int, Field(ge=300, le=2**20)] = 1024
    file: Path | None = None  # a tokenizer.json
    end: _Text | None = None  # its token that follows every document; null: <|endoftext|>

    @model_validator(mode="after")
    def _is_learnt_or_read(self) -> Vocabulary:
        if self.file is not None and "vocab_size" in self.model_fields_set:
            raise ValueError("a tokenizer file has its own vocab_size; keep one of the two keys")
        if self.file is None and self.end is not None:
            raise ValueError("end is a token of a tokenizer file; name the file too")
        return self


class Data(Frozen):
    """The text: its sources, how they are mixed, and how they are cut into tokens."""

    tokenizer: Vocabulary = Vocabulary()
    held_out: Annotated[int, Field(ge=2, le=2**31)] = 64  # every so manyth document
    sources: Annotated[tuple[Source, ...], Field(strict=False), AfterValidator(_some)] = (
        Source(library=Library()),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Data:
        given = [source.settings.name for source in self.sources if source.settings.name]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two sources have the name {twice[0]!r}; names are unique")
        arrays = [source.tokens.path for source in self.sources if source.tokens]
        if arrays and self.tokenizer.file is None:
            raise ValueError(
                f"{arrays[0]} holds token ids, which mean something to their own tokenizer alone: "
                "name it with 'tokenizer: {file: tokenizer.json}'"
            )
        return self

    def named(self) -> dict[str, Source]:
        """The sources by their names, in order: the name given, or `kind`, `kind-2`, ..."""
        given = {source.settings.name for source in self.sources}
        found: dict[str, Source] = {}
        for source in self.sources:
            name, number = source.settings.name or source.kind, 1
            while not source.settings.name and (name in found or name in given):
                number += 1
                name = f"{source.kind}-{number}"
            found[name] = source
        return found
