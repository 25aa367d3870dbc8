"""A byte-level BPE tokenizer, kept as `tokenizer.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from pytest_circuits.errors import ModelError
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic

MAX_BYTES = 64 * 2**20
END_OF_TEXT = "<|endoftext|>"  # follows every document in training

# Words with one leading space, up to three digits, runs of punctuation with one leading space,
# newlines, and other white space; so that `("`, `]]` and ` +=` are candidates for single tokens.
_SPLIT = r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Text to token ids and back; the same text gives the same ids wherever it is used."""

    digest: str  # sha256 of what tokenizer.json says, however it is laid out
    vocab_size: int
    _backend: Backend = field(repr=False, compare=False)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; nothing is added to it."""
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Of each token that `encode` gives the characters that it holds."""
        found = self._backend.encode(text, add_special_tokens=False).offsets
        return [(int(start), int(end)) for start, end in found]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Token ids of many texts, using all cores."""
        return [e.ids for e in self._backend.encode_batch(texts, add_special_tokens=False)]

    def token(self, index: int) -> str:
        """The text of one token."""
        text: str = self._backend.decode([index], skip_special_tokens=False)
        return text

    def texts(self, parts: list[list[int]]) -> list[str]:
        """The texts of lists of token ids, using all cores."""
        found: list[str] = self._backend.decode_batch(parts, skip_special_tokens=False)
        return found

    def id_of(self, token: str) -> int | None:
        """Id of a special token, or None."""
        index: int | None = self._backend.token_to_id(token)
        return index

    def put_before(self) -> list[int]:
        """Special tokens that the file asks for before a text."""
        found = self._backend.encode("a", add_special_tokens=True)
        both = zip(found.ids, found.special_tokens_mask, strict=True)
        return [index for index, _ in takewhile(lambda one: one[1], both)]

    @property
    def largest_id(self) -> int:
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1)

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`."""
        write_atomic(path, _content(self._backend))


def load_tokenizer(path: Path, *, special: bool = False) -> Tokenizer:
    """Read `tokenizer.json`; ModelError when it is too large or not a tokenizer.

    special: whether special tokens that are written out in a text are those tokens.
    """
    content = read_bounded(path, max_bytes=MAX_BYTES, error=ModelError)
    return _from_bytes(content, source=str(path), special=special)


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, special: tuple[str, ...]
) -> Tokenizer:
    """Learn a byte-level BPE vocabulary; the special tokens get the last ids."""
    backend = byte_level(models.BPE(), words=_SPLIT)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens(list(special))
    return tokenizer_of(backend)


def byte_level(model: models.Model, *, words: str) -> Backend:
    """The bytes of words, which a regular expression finds, to tokens by a model and back."""
    backend = Backend(model)
    split = pre_tokenizers.Split(Regex(words), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def tokenizer_of(backend: Backend, *, special: bool = False) -> Tokenizer:
    """What `load_tokenizer` gives for the file that one of the library's is saved as."""
    content = _content(backend)
    if len(content) > MAX_BYTES:
        raise ModelError(f"the tokenizer is larger than {MAX_BYTES} bytes, more than it can need")
    return _from_bytes(content, source="tokenizer", special=special)


def _content(backend: Backend) -> bytes:
    return f"{backend.to_str(pretty=True)}\n".encode()


def _from_bytes(content: bytes, *, source: str, special: bool = False) -> Tokenizer:
    try:
        backend = Backend.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises bare Exception for every defect
        raise ModelError(f"{source}: not a tokenizer that can be read: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = not special
    # As the library writes it, so that the digest of such a file is that of its bytes.
    said = parse_json(content, source=source, error=ModelError)
    canonical = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
    return Tokenizer(
        hashlib.sha256(canonical.encode()).hexdigest(), backend.get_vocab_size(), backend
    )
