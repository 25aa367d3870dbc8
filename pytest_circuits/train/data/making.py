"""The token files of a corpus, made from its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_circuits.errors import UsageError
from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.system.progress import Reporter, reporting
from pytest_circuits.train.data.config import Data, Source, Tokens
from pytest_circuits.train.data.documents import described, documents
from pytest_circuits.train.data.manifest import (
    TOKENIZER,
    SourceRecord,
    file_names,
    manifest_of,
    write_manifest,
)
from pytest_circuits.train.data.token_array import open_array
from pytest_circuits.train.data.token_file import TokenWriter
from pytest_circuits.train.data.tokenise import Split, TokenArray, write_array, write_texts
from pytest_circuits.train.data.vocabulary import LEARNT_ON, adopt, end_of, learn, spread


def make(data: Data, folder: Path, *, base: Path, seed: int) -> None:
    """Write the tokenizer, two token files a source, and last the manifest."""
    making = _Making(data, folder, base, seed)
    tokenizer = making.tokenizer()
    with reporting("tokenising", len(data.sources)) as reporter:
        records = tuple(making.records(tokenizer, reporter))
    manifest = manifest_of(data, seed=seed, tokenizer_digest=tokenizer.digest, sources=records)
    write_manifest(manifest, folder)


@dataclass(frozen=True, slots=True)
class _Making:
    data: Data
    folder: Path
    base: Path
    seed: int

    def tokenizer(self) -> Tokenizer:
        """Read the tokenizer, or learn it on what is trained on."""
        path, wanted = self.folder / TOKENIZER, self.data.tokenizer
        if wanted.file is not None:
            return adopt(self.base / wanted.file, path)
        total = sum(source.settings.share for source in self.data.sources)
        sample: list[str] = []
        with reporting("learning the tokenizer", len(self.data.sources)) as reporter:
            for done, (name, source) in enumerate(self.data.named().items()):
                reporter.at(done, name)
                most = int(LEARNT_ON * source.settings.share / total)
                sample += spread(self._trained_on(source), most=most)
            tokenizer = learn(sample, path, vocab_size=wanted.vocab_size)
            reporter.at(len(self.data.sources), f"{tokenizer.vocab_size:,} tokens")
        return tokenizer

    def records(self, tokenizer: Tokenizer, reporter: Reporter) -> Iterator[SourceRecord]:
        """Write the token files of every source."""
        for number, (name, source) in enumerate(self.data.named().items()):
            about = described(source.settings, base=self.base)
            training, held_out = (self.folder / file for file in file_names(number, name))
            end = end_of(tokenizer, source=self.folder / TOKENIZER)
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
        texts = documents(source.settings, base=self.base, seed=self.seed)
        yield from (text for index, text in enumerate(texts) if index % self.data.held_out)

    def _write(
        self, source: Source, tokenizer: Tokenizer, split: Split, *, tell: Callable[[], None]
    ) -> None:
        settings = source.settings
        if not isinstance(settings, Tokens):
            texts = documents(settings, base=self.base, seed=self.seed)
            write_texts(texts, tokenizer, split, tell=tell)
            return
        path = self.base / settings.path
        ids = open_array(path, settings)
        array = TokenArray(path, ids, self.folder / TOKENIZER, tokenizer.vocab_size)
        write_array(array, split, tell=tell)


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
