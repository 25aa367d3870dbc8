"""A tokenizer.json from the files of a tiktoken encoding, such that both encode alike.

tiktoken merges, of all neighbours whose concatenation is a token, the one of the lowest rank; a
merge list names pairs. So every way to split a token into two tokens becomes a merge, in the order
of the ranks. A word that is a token is that token at once, in both (`ignore_merges`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from tokenizers import models

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.tokenizer import (
    END_OF_TEXT,
    MAX_BYTES,
    Tokenizer,
    byte_level,
    load_tokenizer,
    tokenizer_of,
)
from pytest_circuits.system.files import parse_json, read_bounded

ENCODING = "tinypython_2k"  # the one whose rules stand here; a rank file does not hold them
# How tinypython_2k splits text into words.
_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPECIAL = {END_OF_TEXT, "<|startoftext|>"}
_NAMES = ("tokenizer.json", "*.tiktoken", "vocab.bpe")

Ranks = dict[bytes, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A tokenizer, and the files that it was made of with their SHA-256."""

    tokenizer: Tokenizer
    files: dict[str, str]


def find_tokenizer(source: Path, given: Path | None) -> Path:
    """The tokenizer's file: the one that was named, or the only one beside the model."""
    folder = given or source
    if not folder.is_dir():
        return folder
    found = [path for name in _NAMES for path in sorted(folder.glob(name))]
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise UsageError(
            f"{folder}: which tokenizer? It holds {listed}. Name one with --tokenizer: a "
            f"tokenizer.json, a .tiktoken rank file, or vocab.bpe with encoder.json beside it "
            f"(the published models use {ENCODING}, which was released as the latter)"
        )
    return found[0]


def read_tokenizer(path: Path, *, encoding: str, vocab_size: int) -> Found:
    """A tokenizer that fits a vocabulary."""
    content = read_bounded(path, max_bytes=MAX_BYTES, error=ModelError)
    files = {path.name: hashlib.sha256(content).hexdigest()}
    if path.suffix == ".json":
        tokenizer = load_tokenizer(path)
        _check_size(path, tokenizer.vocab_size, vocab_size)
        return Found(tokenizer, files)
    if encoding != ENCODING:
        raise ModelError(
            f"{path}: the model's tokenizer is {encoding!r}; how it splits text into words is "
            f"known for {ENCODING!r} alone; give its tokenizer.json"
        )
    if path.suffix == ".bpe":
        beside = path.with_name("encoder.json")
        ids = read_bounded(beside, max_bytes=MAX_BYTES, error=ModelError)
        files[beside.name] = hashlib.sha256(ids).hexdigest()
        ranks = _merges_file(path, content, beside, ids)
    else:
        ranks = _rank_file(path, content)
    lacking = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if lacking:
        raise ModelError(f"{path}: has no token for {len(lacking)} of the 256 single bytes")
    _check_size(path, max(ranks.values()) + 1, vocab_size)
    return Found(from_ranks(ranks, vocab_size=vocab_size), files)


def from_ranks(ranks: Ranks, *, vocab_size: int) -> Tokenizer:
    """The tokenizer of tiktoken's ranks with the splitting rule of tinypython_2k."""
    text = {token: "".join(_CHARACTERS[byte] for byte in token) for token in ranks}
    merges = [(text[a], text[b]) for a, b in _merges(ranks)]
    vocabulary = {text[token]: rank for token, rank in ranks.items()}
    special = vocab_size - 1 not in ranks.values()
    if special:
        vocabulary[END_OF_TEXT] = vocab_size - 1
    bpe = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True)
    backend = byte_level(bpe, words=_SPLIT)
    if special:
        backend.add_special_tokens([END_OF_TEXT])
    return tokenizer_of(backend)


def _merges(ranks: Ranks) -> list[tuple[bytes, bytes]]:
    """Every split of every token into two tokens; in the order of the tokens' ranks.

    Of the splits of one token, the one whose parts came first stands first.
    """
    found = []
    for token, rank in ranks.items():
        for at in range(1, len(token)):
            first, second = token[:at], token[at:]
            if first in ranks and second in ranks:
                later = max(ranks[first], ranks[second])
                found.append((rank, later, at, first, second))
    return [(first, second) for _, _, _, first, second in sorted(found)]


def _rank_file(path: Path, content: bytes) -> Ranks:
    """Lines of a token in base64 and its rank."""
    ranks: Ranks = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ModelError(
                f"{path}:{number}: not a line of a .tiktoken file, which is a token in base64, a "
                "space and its rank"
            ) from None
    return _checked(path, ranks)


def _merges_file(path: Path, content: bytes, beside: Path, ids_content: bytes) -> Ranks:
    """GPT-2's pair of files: the merges in order, and beside them the id of each token."""
    ids = parse_json(ids_content, source=str(beside), error=ModelError)
    try:
        ranks = {
            bytes(_BYTES[character] for character in token): rank
            for token, rank in ids.items()
            if token not in _SPECIAL
        }
        pairs = [line.split(" ") for line in content.decode().splitlines()[1:] if line]
        merged = [bytes(_BYTES[c] for c in first + second) for first, second in pairs]
        order = [ranks[token] for token in merged]
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: does not go with {beside.name}: {error}") from None
    if order != sorted(set(order)) or len(order) + 256 != len(ranks):
        raise ModelError(f"{path}: its merges do not stand in the order of {beside.name}")
    return _checked(path, ranks)


def _checked(path: Path, ranks: Ranks) -> Ranks:
    values = list(ranks.values())
    sound = all(type(rank) is int and rank >= 0 for rank in values)
    if not sound or len(set(values)) != len(values) or b"" in ranks:
        raise ModelError(f"{path}: its ranks are not different whole numbers from zero")
    return ranks


def _check_size(path: Path, size: int, vocab_size: int) -> None:
    if size > vocab_size:
        raise ModelError(f"{path}: has {size} tokens, but the model's vocabulary is {vocab_size}")


# The printable character that stands for each byte in byte-level BPE (GPT-2's alphabet).
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = sorted(set(range(256)) - set(_VISIBLE))
_CHARACTERS = {b: chr(b) for b in _VISIBLE} | {b: chr(256 + i) for i, b in enumerate(_OTHERS)}
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}
