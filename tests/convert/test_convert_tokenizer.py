"""A converted tokenizer encodes as tiktoken does: the lowest rank first, whole words at once."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from pytest_circuits.convert.tokenizer import (
    ENCODING,
    find_tokenizer,
    from_ranks,
    read_tokenizer,
)
from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.tokenizer import END_OF_TEXT, train_tokenizer

Ranks = dict[bytes, int]

WORDS = pre_tokenizers.Split(
    Regex(
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    behavior="isolated",
)
LINES = [
    "def banana(aaa, aaaa):\n    return [aaa, 'ab', \"ba\"]\n",
    "x = 12345 + banana(aa, aaaaa)  # ééé naïve\n",
    "    if xs[0] == ']]':\n        print(xs)\n",
]
# Ranks whose tokens can be put together in several ways, not all of which training would leave.
CROSSED = [b"ab", b"ba", b"aba", b"abab", b"bb", b"bbb", b" a", b" ab", b"bab", b"aa", b"aaa"]


def _trained() -> Ranks:
    """Ranks of a small BPE of our own: its tokens in the order of their ids."""
    document = train_tokenizer(LINES * 20, vocab_size=330, special=())
    characters = _characters()
    vocabulary = json.loads(document._backend.to_str())["model"]["vocab"]
    return {bytes(characters[c] for c in token): rank for token, rank in vocabulary.items()}


def _characters() -> dict[str, int]:
    """GPT-2's alphabet, which a byte-level tokenizer.json is written in."""
    visible = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    rest = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(rest)}


def _crossed() -> Ranks:
    tokens = [*(bytes([b]) for b in range(256)), *CROSSED]
    return {token: rank for rank, token in enumerate(tokens)}


def _greedy(ranks: Ranks, text: str) -> list[int]:
    """Byte-pair encoding as tiktoken defines it."""
    ids = []
    for word, _ in WORDS.pre_tokenize_str(text):
        content = word.encode()
        parts = [content] if content in ranks else [bytes([byte]) for byte in content]
        while True:
            joined = [first + second for first, second in pairwise(parts)]
            best = min((t for t in joined if t in ranks), key=ranks.__getitem__, default=None)
            if best is None:
                break
            at = joined.index(best)
            parts[at : at + 2] = [best]
        ids += [ranks[part] for part in parts]
    return ids


TRAINED, CROSSED_RANKS = _trained(), _crossed()
CONVERTED = {
    "trained": (TRAINED, from_ranks(TRAINED, vocab_size=400)),
    "crossed": (CROSSED_RANKS, from_ranks(CROSSED_RANKS, vocab_size=400)),
}


@pytest.mark.parametrize("name", CONVERTED)
@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.sampled_from("ab ab ab\n\r()['\"]/=1é中"), max_size=30) | st.text(max_size=20)
)
def test_encodings_are_those_of_greedy_merging(name: str, text: str) -> None:
    ranks, tokenizer = CONVERTED[name]
    assert tokenizer.encode(text) == _greedy(ranks, text)


@pytest.mark.parametrize("name", CONVERTED)
def test_code_is_encoded_as_greedy_merging_does_and_comes_back(name: str) -> None:
    ranks, tokenizer = CONVERTED[name]
    text = "".join(LINES)
    ids = tokenizer.encode(text)
    assert ids == _greedy(ranks, text)
    assert tokenizer._backend.decode(ids) == text


def test_the_last_id_ends_a_text_and_is_never_read_from_one() -> None:
    _, tokenizer = CONVERTED["trained"]
    assert tokenizer.id_of(END_OF_TEXT) == 399
    assert 399 not in tokenizer.encode(f"a{END_OF_TEXT}b")
    full = from_ranks(_crossed(), vocab_size=len(_crossed()))
    assert full.id_of(END_OF_TEXT) is None


def _rank_file(folder: Path, ranks: Ranks) -> Path:
    path = folder / "small.tiktoken"
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def _pair_of_files(folder: Path, ranks: Ranks) -> Path:
    """`vocab.bpe` and `encoder.json`, as the tokenizer of the published models was released."""
    back = {byte: character for character, byte in _characters().items()}
    written = {"".join(back[byte] for byte in token): rank for token, rank in ranks.items()}
    pairs = []
    for token in sorted((t for t in ranks if len(t) > 1), key=ranks.__getitem__):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        first, second = next((a, b) for a, b in cuts if a in ranks and b in ranks)
        pairs.append(" ".join("".join(back[byte] for byte in part) for part in (first, second)))
    (folder / "encoder.json").write_text(json.dumps(written | {END_OF_TEXT: 399}))
    path = folder / "vocab.bpe"
    path.write_text("#version: 0.2\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    return path


def test_all_three_kinds_of_files_give_the_same_tokenizer(tmp_path: Path) -> None:
    direct = CONVERTED["trained"][1]
    ranks = _rank_file(tmp_path, TRAINED)
    pair = _pair_of_files(tmp_path, TRAINED)
    direct.save(tmp_path / "tokenizer.json")
    found = [
        read_tokenizer(path, encoding=ENCODING, vocab_size=400)
        for path in (ranks, pair, tmp_path / "tokenizer.json")
    ]
    assert {each.tokenizer.digest for each in found} == {direct.digest}
    names = ["small.tiktoken", "vocab.bpe", "encoder.json", "tokenizer.json"]
    assert [name for each in found for name in each.files] == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("!!! 0\n", "small.tiktoken:1: not a line of a .tiktoken file"),
        ("YQ== 0\nYg==\n", "small.tiktoken:2: not a line"),
        ("YQ== 0\nYg== 0\n", "its ranks are not different whole numbers"),
        ("YQ== -1\n", "its ranks are not different whole numbers"),
        ("YQ== 0\n", "has no token for 255 of the 256 single bytes"),
    ],
)
def test_a_damaged_rank_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "small.tiktoken"
    path.write_text(content)
    with pytest.raises(ModelError) as error:
        read_tokenizer(path, encoding=ENCODING, vocab_size=400)
    assert said in str(error.value)


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    path = _pair_of_files(tmp_path, TRAINED)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]), encoding="utf-8")
    with pytest.raises(ModelError, match=r"its merges do not stand in the order of encoder\.json"):
        read_tokenizer(path, encoding=ENCODING, vocab_size=400)
    path.write_text(f"{lines[0]}\nz zz\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"does not go with encoder\.json"):
        read_tokenizer(path, encoding=ENCODING, vocab_size=400)
    (tmp_path / "encoder.json").unlink()
    with pytest.raises(ModelError, match=r"encoder\.json: cannot be read"):
        read_tokenizer(path, encoding=ENCODING, vocab_size=400)


def test_a_vocabulary_that_is_too_large_and_a_foreign_encoding_are_refused(tmp_path: Path) -> None:
    path = _rank_file(tmp_path, TRAINED)
    with pytest.raises(ModelError, match="but the model's vocabulary is 300"):
        read_tokenizer(path, encoding=ENCODING, vocab_size=300)
    with pytest.raises(ModelError, match=r"the model's tokenizer is 'gpt2'"):
        read_tokenizer(path, encoding="gpt2", vocab_size=400)


def test_the_tokenizer_is_found_beside_the_model_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"It holds none\. Name one with --tokenizer"):
        find_tokenizer(tmp_path, None)
    path = _rank_file(tmp_path, TRAINED)
    assert find_tokenizer(tmp_path, None) == path
    CONVERTED["trained"][1].save(tmp_path / "tokenizer.json")
    with pytest.raises(UsageError, match=r"It holds tokenizer\.json, small\.tiktoken"):
        find_tokenizer(tmp_path, None)
    assert find_tokenizer(tmp_path, path) == path
    (tmp_path / "tokenizer.json").unlink()
    assert find_tokenizer(tmp_path / "elsewhere", tmp_path) == path
