"""Files of token ids, and `corpus.json`, which says what those of a folder hold and come from.

Ids are little-endian and as small as they fit; documents stand one after the other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pytest_circuits.errors import UsageError
from pytest_circuits.spec.frozen import Frozen
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic
from pytest_circuits.train.data.config import Data

MANIFEST = "corpus.json"
TOKENIZER = "tokenizer.json"
_AGAIN = "remove the folder to tokenise again, or name another"
_MAX_BYTES = 2**20
_Count = Annotated[int, Field(ge=0)]


class TokenFacts(Frozen):
    """What a token file holds."""

    tokens: _Count  # with the end-of-text token of every document
    documents: _Count
    text_bytes: _Count  # of the text that the tokens stand for, in UTF-8
    sha256: str


def dtype_for(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


@dataclass(slots=True)
class TokenWriter:
    file: BinaryIO
    vocab_size: int
    end: int  # id of the end-of-text token
    tokens: int = 0
    documents: int = 0
    text_bytes: int = 0
    _ended: bool = True
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, ids: Sequence[int] | NDArray[np.integer[Any]], *, text_bytes: int) -> None:
        """Write ids that go on with the document, or begin one."""
        array = np.asarray(ids, dtype=np.int64)
        if not len(array):
            return
        if int(array.max()) >= self.vocab_size:
            raise UsageError(
                f"the tokenizer gives the id {int(array.max())} and says that it has "
                f"{self.vocab_size:,} tokens; its ids must be 0, 1, 2, ... without a gap"
            )
        content = array.astype(dtype_for(self.vocab_size)).tobytes()
        self.file.write(content)
        self._sha256.update(content)
        self.tokens += len(array)
        self.text_bytes += text_bytes
        self.documents += int(np.count_nonzero(array == self.end))
        self._ended = int(array[-1]) == self.end

    def end_document(self) -> None:
        """Write the end-of-text token, unless the last id is one."""
        if not self._ended:
            self.add([self.end], text_bytes=0)

    def close(self) -> TokenFacts:
        """Bring everything to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return TokenFacts(
            tokens=self.tokens,
            documents=self.documents,
            text_bytes=self.text_bytes,
            sha256=self._sha256.hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class Split:
    """The two files of a source: every so manyth document is held out."""

    training: TokenWriter
    held_out: TokenWriter
    every: int


def open_tokens(path: Path, *, vocab_size: int) -> NDArray[np.unsignedinteger[Any]]:
    return np.memmap(path, dtype_for(vocab_size), mode="r")


class SourceRecord(Frozen):
    """The two token files of a source."""

    name: str
    about: str
    training: TokenFacts
    held_out: TokenFacts


class Manifest(Frozen):
    """Everything that is needed to use the token files without their sources."""

    version: Literal[1] = 1
    made_from: dict[str, Any]  # the configuration, as far as the token files depend on it
    made_from_digest: str
    tokenizer_digest: str
    sources: Annotated[tuple[SourceRecord, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """One digest of the tokenizer and of what the token files hold, whatever their names."""
        files = [[part.training.sha256, part.held_out.sha256] for part in self.sources]
        return _digest([self.tokenizer_digest, files])


def file_names(number: int, name: str) -> tuple[str, str]:
    """Names of the training and the held-out file of a source, which count from 0."""
    return f"{number:02}-{name}.training.bin", f"{number:02}-{name}.held-out.bin"


def write_manifest(
    folder: Path, data: Data, *, tokenizer_digest: str, sources: tuple[SourceRecord, ...]
) -> None:
    """Write `corpus.json`, which comes last: with it, the token files are complete."""
    made_from = _made_from(data)
    manifest = Manifest(
        made_from=made_from,
        made_from_digest=_digest(made_from),
        tokenizer_digest=tokenizer_digest,
        sources=sources,
    )
    content = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True)
    write_atomic(folder / MANIFEST, f"{content}\n".encode())


def read_manifest(folder: Path, data: Data) -> Manifest:
    """Read `corpus.json`; UsageError when it belongs to another configuration."""
    path = folder / MANIFEST
    content = read_bounded(path, max_bytes=_MAX_BYTES, error=UsageError)
    try:
        found = parse_json(content, source=str(path), error=UsageError)
        manifest = Manifest.model_validate_json(json.dumps(found))
    except ValidationError as cause:
        first = cause.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: damaged at {place}: {first['msg']}; {_AGAIN}") from cause
    wanted = _made_from(data)
    if manifest.made_from_digest != _digest(wanted):
        both = {*wanted, *manifest.made_from}
        other = sorted(key for key in both if wanted.get(key) != manifest.made_from.get(key))
        what = f"{', '.join(other) or 'the digest'} {'differ' if len(other) > 1 else 'differs'}"
        raise UsageError(
            f"{path}: the token files were made from another configuration ({what}); {_AGAIN}"
        )
    return manifest


def _made_from(data: Data) -> dict[str, Any]:
    return data.model_dump(mode="json", exclude_none=True)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
