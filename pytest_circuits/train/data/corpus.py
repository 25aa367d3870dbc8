"""A corpus on disk: made from its sources once, then mapped into memory."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_circuits.errors import UsageError
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer
from pytest_circuits.system.files import whole_directory
from pytest_circuits.train.data.config import Data
from pytest_circuits.train.data.making import make
from pytest_circuits.train.data.manifest import (
    MANIFEST,
    TOKENIZER,
    Manifest,
    file_names,
    read_manifest,
)
from pytest_circuits.train.data.mixture import Mixture
from pytest_circuits.train.data.token_file import TokenFacts, dtype_for, open_tokens

_HASHED = 10**9  # bytes; of a larger file only the size is verified when it is used again
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source gave, for the model card."""

    name: str
    about: str  # one phrase
    share: float  # of the rows of a batch; all sum to 1
    tokens: int  # that are trained on
    held_out_tokens: int
    held_out_bytes: int  # of the text that the held-out tokens stand for, in UTF-8
    documents: int  # trained on and held out


@dataclass(frozen=True, slots=True)
class Corpus:
    """The tokens of all sources, and the tokenizer that they belong to."""

    tokenizer: Tokenizer
    digest: str  # sha256 of the tokenizer and of what the token files hold
    training: Mixture
    held_out: Mixture
    sources: tuple[SourceFacts, ...]


def prepare(data: Data, folder: Path, *, base: Path, seed: int) -> Corpus:
    """Return the corpus of a configuration, from its token files in the folder.

    Where there is no folder yet, its files are made; it appears whole or not at all. Where it is
    there, the sources are not read again: the files must belong to the configuration and be as
    they were written.

    Args:
        data: the sources.
        folder: where the token files are or will be.
        base: the folder that relative paths of the configuration start at.
        seed: what generated documents depend on.

    """
    if not (folder / MANIFEST).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder}: is there, and not an empty folder or one with token files "
                f"({MANIFEST}); name a new one, nothing is overwritten"
            )
        with _whole(folder) as unfinished:
            make(data, unfinished, base=base, seed=seed)
    return _opened(folder, read_manifest(folder, data, seed=seed), data)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """The folder of token files, which appears whole or not at all."""
    try:
        with whole_directory(folder) as unfinished:
            yield unfinished
    except OSError as cause:
        if cause.errno in _FULL:
            raise UsageError(
                f"{folder}: the disk is full; the token files take two bytes a token, four if the "
                "vocabulary has more than 65536: make room or name a folder on another disk"
            ) from cause
        raise UsageError(f"{folder}: tokenising failed: {cause}") from cause


def _opened(folder: Path, manifest: Manifest, data: Data) -> Corpus:
    tokenizer = load_tokenizer(folder / TOKENIZER)
    if tokenizer.digest != manifest.tokenizer_digest:
        raise _changed(folder / TOKENIZER, "its sha256 differs")
    training, held_out = {}, {}
    for number, part in enumerate(manifest.sources):
        paths = [folder / name for name in file_names(number, part.name)]
        for path, facts in zip(paths, (part.training, part.held_out), strict=True):
            _verify(path, facts, vocab_size=tokenizer.vocab_size)
        training[part.name], held_out[part.name] = (
            open_tokens(path, vocab_size=tokenizer.vocab_size) for path in paths
        )
    weights = {name: source.settings.share for name, source in data.named().items()}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    return Corpus(
        tokenizer,
        manifest.digest,
        Mixture(training, shares),
        Mixture(held_out, shares),
        _facts(manifest, shares),
    )


def _facts(manifest: Manifest, shares: dict[str, float]) -> tuple[SourceFacts, ...]:
    return tuple(
        SourceFacts(
            name=part.name,
            about=part.about,
            share=shares[part.name],
            tokens=part.training.tokens,
            held_out_tokens=part.held_out.tokens,
            held_out_bytes=part.held_out.text_bytes,
            documents=part.training.documents + part.held_out.documents,
        )
        for part in manifest.sources
    )


def _verify(path: Path, facts: TokenFacts, *, vocab_size: int) -> None:
    wanted = facts.tokens * dtype_for(vocab_size).itemsize
    size = path.stat().st_size if path.is_file() else None
    if size is None:
        raise _changed(path, "it is missing")
    if size != wanted:
        raise _changed(path, f"it has {size:,} bytes, not {wanted:,}")
    if size <= _HASHED:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts.sha256:
                raise _changed(path, "its sha256 differs")


def _changed(path: Path, how: str) -> UsageError:
    return UsageError(
        f"{path}: not as {MANIFEST} beside it says: {how}; restore the file, or remove the folder "
        "to tokenise again"
    )
