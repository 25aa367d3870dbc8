"""`corpus.json`: what the token files of a folder hold, and what they were made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic
from pytest_circuits.train.data.config import Data, Frozen
from pytest_circuits.train.data.token_file import TokenFacts

MANIFEST = "corpus.json"
TOKENIZER = "tokenizer.json"
_AGAIN = "remove the folder to tokenise again, or name another"
_MAX_BYTES = 2**20


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
