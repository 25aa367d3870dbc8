"""A corpus on disk: made from its sources once, then mapped into memory."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.errors import UsageError
from pytest_circuits.model.tokenizer import END_OF_TEXT, Tokenizer, load_tokenizer, train_tokenizer
from pytest_circuits.system.files import whole_directory
from pytest_circuits.system.progress import Reporter, reporting
from pytest_circuits.train.data.config import Data, Source, Tokens
from pytest_circuits.train.data.documents import described, documents
from pytest_circuits.train.data.mixture import Mixture
from pytest_circuits.train.data.token_array import open_array, write_array
from pytest_circuits.train.data.token_file import (
    MANIFEST,
    TOKENIZER,
    Manifest,
    SourceRecord,
    Split,
    TokenFacts,
    TokenWriter,
    dtype_for,
    file_names,
    open_tokens,
    read_manifest,
    write_manifest,
)
from pytest_circuits.train.data.tokenise import LEARNT_ON, adopt, end_of, spread, write_texts

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


def prepare(data: Data, folder: Path, *, base: Path) -> Corpus:
    """Return the corpus of a configuration, from its token files in the folder.

    Where there is no folder yet, its files are made; it appears whole or not at all. Where it is
    there, the sources are not read again: the files must belong to the configuration and be as
    they were written.

    base: the folder that relative paths of the configuration start at.
    """
    if not (folder / MANIFEST).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder}: is there, and not an empty folder or one with token files "
                f"({MANIFEST}); name a new one, nothing is overwritten"
            )
        with _whole(folder) as unfinished:
            _Maker(data, unfinished, base).make()
    return _opened(folder, read_manifest(folder, data), data)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
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


@dataclass(frozen=True, slots=True)
class _Maker:
    """Writes the tokenizer, two token files a source, and last the manifest."""

    data: Data
    folder: Path
    base: Path

    def make(self) -> None:
        tokenizer = self._tokenizer()
        with reporting("tokenising", len(self.data.sources)) as reporter:
            sources = tuple(self._records(tokenizer, reporter))
        digest = tokenizer.digest
        write_manifest(self.folder, self.data, tokenizer_digest=digest, sources=sources)

    def _tokenizer(self) -> Tokenizer:
        """The one that is there, or one learnt on what is trained on."""
        path, wanted = self.folder / TOKENIZER, self.data.tokenizer
        if wanted.file is not None:
            return adopt(self.base / wanted.file, path, end=wanted.end)
        total = sum(source.settings.share for source in self.data.sources)
        sample: list[str] = []
        with reporting("learning the tokenizer", len(self.data.sources)) as reporter:
            for done, (name, source) in enumerate(self.data.named().items()):
                reporter.at(done, name)
                most = int(LEARNT_ON * source.settings.share / total)
                sample += spread(self._trained_on(source), most=most)
            tokenizer = train_tokenizer(
                sample, vocab_size=wanted.vocab_size, special=(END_OF_TEXT,)
            )
            tokenizer.save(path)
            reporter.at(len(self.data.sources), f"{tokenizer.vocab_size:,} tokens")
        return tokenizer

    def _records(self, tokenizer: Tokenizer, reporter: Reporter) -> Iterator[SourceRecord]:
        for number, (name, source) in enumerate(self.data.named().items()):
            about = described(source.settings, base=self.base)
            file = self.folder / TOKENIZER
            training, held_out = (self.folder / file for file in file_names(number, name))
            end = end_of(tokenizer, source=file, named=self.data.tokenizer.end)
            with training.open("wb") as first, held_out.open("wb") as second:
                split = Split(
                    TokenWriter(first, tokenizer.vocab_size, end),
                    TokenWriter(second, tokenizer.vocab_size, end),
                    self.data.held_out,
                )
                self._write(source, tokenizer, split, tell=_teller(reporter, number, name, split))
                record = SourceRecord(
                    name=name,
                    about=about,
                    training=split.training.close(),
                    held_out=split.held_out.close(),
                )
            _refuse_empty(record)
            reporter.at(number + 1, f"{name}: {record.training.tokens:,} tokens")
            yield record

    def _trained_on(self, source: Source) -> Iterator[str]:
        if isinstance(source.settings, Tokens):
            return
        texts = documents(source.settings, base=self.base)
        yield from (text for index, text in enumerate(texts) if index % self.data.held_out)

    def _write(
        self, source: Source, tokenizer: Tokenizer, split: Split, *, tell: Callable[[], None]
    ) -> None:
        settings = source.settings
        if not isinstance(settings, Tokens):
            write_texts(documents(settings, base=self.base), tokenizer, split, tell=tell)
            return
        path = self.base / settings.path
        write_array(open_array(path, settings), tokenizer, split, path=path, tell=tell)


def _teller(reporter: Reporter, number: int, name: str, split: Split) -> Callable[[], None]:
    def tell() -> None:
        tokens = split.training.tokens + split.held_out.tokens
        reporter.at(number, f"{name}: {tokens:,} tokens so far")

    return tell


def _refuse_empty(record: SourceRecord) -> None:
    if not record.held_out.tokens:
        raise UsageError(f"the source {record.name!r} has no text: {record.about}")
    if not record.training.tokens:
        raise UsageError(
            f"the source {record.name!r} has one document, which is held out, and nothing is left "
            f"to train on: {record.about}; split it into several (a folder source takes a "
            "'separator', the text between the documents of a file)"
        )


def _opened(folder: Path, manifest: Manifest, data: Data) -> Corpus:
    tokenizer = load_tokenizer(folder / TOKENIZER)
    if tokenizer.digest != manifest.tokenizer_digest:
        raise _changed(folder / TOKENIZER, "its sha256 differs")
    size = tokenizer.vocab_size
    training, held_out = {}, {}
    for number, part in enumerate(manifest.sources):
        first, second = (folder / name for name in file_names(number, part.name))
        training[part.name] = _verified(first, part.training, vocab_size=size)
        held_out[part.name] = _verified(second, part.held_out, vocab_size=size)
    weights = {name: source.settings.share for name, source in data.named().items()}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    return Corpus(
        tokenizer,
        manifest.digest,
        Mixture(training, shares),
        Mixture(held_out, shares),
        tuple(
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
        ),
    )


def _verified(
    path: Path, facts: TokenFacts, *, vocab_size: int
) -> NDArray[np.unsignedinteger[Any]]:
    """The ids of a token file that is as it was written."""
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
    return open_tokens(path, vocab_size=vocab_size)


def _changed(path: Path, how: str) -> UsageError:
    return UsageError(
        f"{path}: not as {MANIFEST} beside it says: {how}; restore the file, or remove the folder "
        "to tokenise again"
    )
