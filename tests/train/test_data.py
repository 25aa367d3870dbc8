"""Data that people have: every kind of source becomes token files, once, or says what is wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pytest_circuits.errors import CircuitsError, SpecError, UsageError
from pytest_circuits.model.tokenizer import END_OF_TEXT, Tokenizer, load_tokenizer, train_tokenizer
from pytest_circuits.spec.load import read_as
from pytest_circuits.train.data import tokenise
from pytest_circuits.train.data.config import Data
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.data.mixture import Mixture
from pytest_circuits.train.data.token_file import TokenWriter, open_tokens

WORDS = ["alpha", "beta", "gamma", "delta", "print", "value", "result", "item"]


def _document(index: int) -> str:
    return f"document_{index} = {' '.join(WORDS[index % 8 :])}\n"


def _data(*sources: dict[str, Any], **rest: Any) -> Data:  # noqa: ANN401
    rest = {"tokenizer": {"vocab_size": 300}, "held_out": 4, **rest}
    return Data.model_validate_json(json.dumps({"sources": sources, **rest}))


def _jsonl(base: Path, count: int = 40) -> dict[str, Any]:
    lines = [json.dumps({"text": _document(index), "id": index}) for index in range(count)]
    (base / "lines.jsonl").write_text("\n".join(lines) + "\n")
    return {"jsonl": {"path": "lines.jsonl"}}


def _made(base: Path, *sources: dict[str, Any], folder: str = "tokens") -> Corpus:
    return prepare(_data(*sources), base / folder, base=base)


def _text(corpus: Corpus, tokens: NDArray[Any]) -> str:
    return "".join(corpus.tokenizer.token(int(index)) for index in tokens)


def _documents(corpus: Corpus, mixture: Mixture, name: str) -> list[str]:
    *found, rest = _text(corpus, mixture.streams[name]).split(END_OF_TEXT)
    assert rest == ""  # the end-of-text token follows every document
    return found


def _refused(base: Path, *sources: dict[str, Any], **rest: Any) -> str:  # noqa: ANN401
    with pytest.raises(CircuitsError) as error:
        prepare(_data(*sources, **rest), base / "tokens", base=base)
    assert [path.name for path in base.iterdir() if "tokens" in path.name] == []
    return str(error.value).replace(f"{base}/", "")


@pytest.fixture
def saved(tmp_path: Path) -> Tokenizer:
    texts = [_document(index) for index in range(40)]
    tokenizer = train_tokenizer(texts, vocab_size=300, special=(END_OF_TEXT,))
    tokenizer.save(tmp_path / "tokenizer.json")
    return tokenizer


# The configuration


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("- foldr: {path: a}", "2:5: unknown key 'foldr' in item 1 of sources; did you mean"),
        ("- folder: {path: a, sufixes: [.py]}", "2:23: unknown key 'sufixes' in 'folder' of item"),
        ("- folder: {share: 1}", "2:5: 'path' is missing in 'folder' of item 1"),
        ("- folder: {path: 3}", "2:20: 'path' of 'folder' of item 1"),
        ("- folder: {path: a, share: 0}", "must be a number above 0"),
        ("- folder: {path: a, suffixes: [py]}", "2:34: a suffix begins with a dot"),
        ("- folder: {path: a, suffixes: []}", "2:33: the list is empty"),
        ('- folder: {path: "a\\0"}', "2:20: a path cannot hold a NUL character"),
        ("- {}", "a source is one of library, folder, jsonl, tokens; this one is none"),
        ("- {library: {}, folder: {path: a}}", "this one is library and folder"),
        ("- library: {name: a}\n  - library: {name: a}", "two sources have the name 'a'"),
        ("- library: {name: a/b}", "'a/b' is not a name"),
        (
            "- generated: {share: 0.6}",
            "2:5: the source 'generated' is a script now: run 'python models",
        ),
        ("- tokens: {path: x.txt}", "2:13: path must end in .npy or .bin, and 'x.txt' does not"),
        ("- tokens: {path: x.bin}", "2:13: a .bin file needs its dtype: uint16 or uint32"),
        ("- tokens: {path: x.npy, dtype: uint16}", "a .npy file says its own dtype"),
        ("- tokens: {path: x.npy}", "x.npy holds token ids, which mean something to their own"),
    ],
)
def test_a_mistake_in_a_source_is_shown_at_its_place(
    tmp_path: Path, sources: str, message: str
) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(f"sources:\n  {sources}\n")
    with pytest.raises(SpecError) as error:
        read_as(path, Data)
    assert message in str(error.value)
    assert len(error.value.problems) == 1


def test_a_tokenizer_is_learnt_or_read(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("tokenizer: {file: tokenizer.json, vocab_size: 1024}\n")
    with pytest.raises(SpecError, match="1:12: a tokenizer file has its own vocab_size"):
        read_as(path, Data)


def test_sources_are_numbered_unless_they_have_a_name() -> None:
    library: dict[str, Any] = {"library": {}}
    data = _data(library, library, {"folder": {"path": "a", "name": "library-3"}}, library)
    assert list(data.named()) == ["library", "library-2", "library-3", "library-4"]


def test_the_default_is_the_library() -> None:
    assert list(Data().named()) == ["library"]


def test_the_configuration_is_read_without_torch() -> None:
    code = "import sys, pytest_circuits.train.config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Every kind of source


def test_json_lines_are_split_into_disjoint_documents(tmp_path: Path) -> None:
    corpus = _made(tmp_path, _jsonl(tmp_path))
    held_out = _documents(corpus, corpus.held_out, "jsonl")
    training = _documents(corpus, corpus.training, "jsonl")
    assert held_out == [_document(index) for index in range(0, 40, 4)]
    assert training == [_document(index) for index in range(40) if index % 4]
    (facts,) = corpus.sources
    assert facts.about == "the field 'text' of lines.jsonl"
    assert facts.documents == 40
    assert facts.held_out_bytes == len("".join(held_out))
    assert facts.tokens == len(corpus.training.streams["jsonl"])
    assert facts.held_out_tokens == len(corpus.held_out.streams["jsonl"])


def test_a_folder_is_read_recursively_in_the_order_of_paths(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    for name in ("b.py", "a/z.py", "a/c.md", "a/c.rst", ".hidden/x.py", "d.py", "empty.py"):
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        (texts / name).write_bytes(b"" if name == "empty.py" else f"{name} \u00e9\r\n".encode())
    (texts / "a" / "z.py").write_bytes(b"\xef\xbb\xbfa byte order mark")
    corpus = _made(tmp_path, {"folder": {"path": "texts", "suffixes": [".py", ".md"]}})
    assert _documents(corpus, corpus.held_out, "folder") == ["a/c.md \u00e9\r\n"]
    training = ["a byte order mark", "b.py \u00e9\r\n", "d.py \u00e9\r\n"]
    assert _documents(corpus, corpus.training, "folder") == training
    assert corpus.sources[0].about == "5 files of texts (.py, .md)"


def test_links_and_pipes_are_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    texts, outside = tmp_path / "texts", tmp_path / "outside"
    texts.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    for index in range(4):
        (texts / f"{index}.txt").write_text(_document(index))
    (texts / "link.txt").symlink_to(outside / "secret.txt")
    (texts / "folder").symlink_to(outside)
    os.mkfifo(texts / "pipe.txt")
    corpus = _made(tmp_path, {"folder": {"path": "texts"}})
    assert len(_documents(corpus, corpus.training, "folder")) == 3
    assert corpus.sources[0].about.endswith(", without 2 links and special files")


def test_a_separator_splits_files_into_documents(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    stories = END_OF_TEXT.join(_document(index) for index in range(9))
    (tmp_path / "texts" / "stories.txt").write_text(stories)
    corpus = _made(tmp_path, {"folder": {"path": "texts", "separator": END_OF_TEXT}})
    assert _documents(corpus, corpus.held_out, "folder") == [_document(i) for i in (0, 4, 8)]


def test_bytes_that_are_not_utf8_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for index in range(3):
        (tmp_path / "texts" / f"{index}.txt").write_bytes(b"na\xefve\n")
    corpus = _made(tmp_path, {"folder": {"path": "texts", "errors": "replace"}})
    facts = corpus.sources[0]
    assert facts.held_out_bytes == len("na\ufffdve\n".encode())


def test_the_library_is_always_there(tmp_path: Path) -> None:
    corpus = _made(tmp_path, {"library": {"modules": 5, "share": 3}}, _jsonl(tmp_path))
    assert [facts.documents for facts in corpus.sources] == [5, 40]
    assert [facts.share for facts in corpus.sources] == [0.75, 0.25]
    assert corpus.sources[0].about.startswith("the first 5 modules of the standard library of P")


@pytest.mark.parametrize("dtype", ["npy", "uint16", "uint32"])
def test_a_token_array_is_split_at_its_ends(tmp_path: Path, saved: Tokenizer, dtype: str) -> None:
    end = saved.id_of(END_OF_TEXT)
    documents = [[*saved.encode(f"caf\u00e9 {_document(index)}"), end] for index in range(9)]
    ids = np.array([index for document in documents for index in document][:-1])
    source: dict[str, Any] = {"path": "ids.npy"}
    if dtype == "npy":
        np.save(tmp_path / "ids.npy", ids)
    else:
        source = {"path": "ids.bin", "dtype": dtype}
        ids.astype(np.dtype(dtype).newbyteorder("<")).tofile(tmp_path / "ids.bin")
    data = _data({"tokens": source}, tokenizer={"file": "tokenizer.json"})
    corpus = prepare(data, tmp_path / "tokens", base=tmp_path)
    held_out = [index for number in (0, 4, 8) for index in documents[number]]
    assert corpus.held_out.streams["tokens"].tolist() == held_out
    assert len(corpus.training.streams["tokens"]) == len(ids) + 1 - len(held_out)
    (facts,) = corpus.sources
    assert facts.documents == 9
    assert facts.held_out_bytes == sum(len(f"caf\u00e9 {_document(i)}".encode()) for i in (0, 4, 8))


def test_the_tail_of_a_token_array_without_ends_is_held_out(
    tmp_path: Path, saved: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.train.data.token_array._CHUNK", 30)
    np.save(tmp_path / "ids.npy", np.arange(100, dtype=np.uint8))
    data = _data({"tokens": {"path": "ids.npy"}}, tokenizer={"file": "tokenizer.json"})
    corpus = prepare(data, tmp_path / "tokens", base=tmp_path)
    end = saved.id_of(END_OF_TEXT)
    assert corpus.training.streams["tokens"].tolist() == [*range(75), end]
    assert corpus.held_out.streams["tokens"].tolist() == [*range(75, 100), end]


# What a user is told


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b'{"text": "a"}\n[1]\n', "lines.jsonl:2: a list, not an object with the field 'text'"),
        (b'{"text": "a"}\n\n{"id": 3}\n', "lines.jsonl:3: the object has no field 'text'; its f"),
        (b'{"Text": "a"}\n', "lines.jsonl:1: the object has no field 'text'; did you mean 'Text'"),
        (b'{"text": 3}\n', "lines.jsonl:1: the field 'text' is a number, not a text"),
        (b'{"text": null}\n', "lines.jsonl:1: the field 'text' is null, not a text"),
        (b'{"text": "a"\n', "lines.jsonl:1: not JSON (Expecting ',' delimiter"),
        (b'{"text": "\xff"}\n', "lines.jsonl:1: not UTF-8 (invalid start byte); convert the file"),
        (b'{"text": "\\ud800"}\n', "lines.jsonl:1: the field 'text' holds half of a character"),
        (b"", "the source 'jsonl' has no text: the field 'text' of lines.jsonl"),
        (b'{"text": "a"}\n', "the source 'jsonl' has one document, which is held out"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: bytes, message: str) -> None:
    (tmp_path / "lines.jsonl").write_bytes(lines)
    assert message in _refused(tmp_path, {"jsonl": {"path": "lines.jsonl"}})


def test_a_document_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.train.data.documents.MAX_DOCUMENT", 100)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a" * 101)
    (tmp_path / "lines.jsonl").write_text("a" * 101)
    said = _refused(tmp_path, {"folder": {"path": "texts"}})
    assert said.startswith("texts/a.txt: holds a document of more than")
    said = _refused(tmp_path, {"jsonl": {"path": "lines.jsonl"}})
    assert said.startswith("lines.jsonl:1: longer than")


def test_a_file_that_is_not_utf8_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "latin.txt").write_bytes(b"fine\nna\xefve\n")
    said = _refused(tmp_path, {"folder": {"path": "texts"}})
    assert said.startswith("texts/latin.txt:2: not UTF-8 (")
    assert "errors: replace" in said


def test_a_folder_that_is_missing_or_has_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.rst").write_text("a")
    assert _refused(tmp_path, {"folder": {"path": "no"}}).startswith("no: is not there")
    said = _refused(tmp_path, {"folder": {"path": "texts/a.rst"}})
    assert said.startswith("texts/a.rst: is not a folder")
    said = _refused(tmp_path, {"folder": {"path": "texts"}})
    assert said == "the source 'folder' has no text: 0 files of texts (.md, .py, .txt)"


def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lines.jsonl")
    said = _refused(tmp_path, {"jsonl": {"path": "lines.jsonl"}})
    assert said == "lines.jsonl: not a regular file"
    said = _refused(tmp_path, {"jsonl": {"path": "no.jsonl"}})
    assert said == "no.jsonl: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0, 1, 299, 300]), "ids.npy: token 3 has the id 300, and the tokenizer has the"),
        (np.array([0, -1]), "ids.npy: token 1 has the id -1"),
        (np.zeros(4), "ids.npy: an array of float64, 4; token ids are whole numbers in one dim"),
        (np.zeros((2, 3), dtype=int), "ids.npy: an array of int64, 2 x 3; token ids are whole"),
        (np.array([0, None]), "ids.npy: not an array that can be read: "),
        (np.zeros(0, dtype=int), "the source 'tokens' has no text: the token ids in ids.npy"),
    ],
)
def test_an_array_that_holds_no_token_ids_is_refused(
    tmp_path: Path, saved: Tokenizer, array: NDArray[Any], message: str
) -> None:
    assert saved.vocab_size == 300
    np.save(tmp_path / "ids.npy", array)
    source = {"tokens": {"path": "ids.npy"}}
    assert message in _refused(tmp_path, source, tokenizer={"file": "tokenizer.json"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.npy", b"", "ids.npy: the file is empty"),
        ("ids.npy", b"\x80\x04K\x01.", "ids.npy: not a .npy file"),
        ("ids.npy", b"\x93NUMPY\x01\x00", "ids.npy: not an array that can be read"),
        ("ids.bin", b"abc", "ids.bin: 3 bytes are not a whole number of uint16, 2 bytes each"),
    ],
)
def test_a_damaged_array_is_refused(
    tmp_path: Path, saved: Tokenizer, name: str, content: bytes, message: str
) -> None:
    assert saved.vocab_size == 300
    (tmp_path / name).write_bytes(content)
    source = {"path": name, **({"dtype": "uint16"} if name.endswith("bin") else {})}
    said = _refused(tmp_path, {"tokens": source}, tokenizer={"file": "tokenizer.json"})
    assert message in said


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path: Path) -> None:
    train_tokenizer(["a b"], vocab_size=300, special=()).save(tmp_path / "plain.json")
    said = _refused(tmp_path, _jsonl(tmp_path), tokenizer={"file": "plain.json"})
    assert said.startswith("plain.json: has no token '<|endoftext|>'")
    said = _refused(tmp_path, _jsonl(tmp_path), tokenizer={"file": "no.json"})
    assert said.startswith("no.json: cannot be read")


# The folder of token files


def test_a_folder_that_fits_is_used_without_its_sources(tmp_path: Path) -> None:
    source = _jsonl(tmp_path)
    first = _made(tmp_path, source)
    (tmp_path / "lines.jsonl").unlink()
    again = _made(tmp_path, source)
    assert (again.digest, again.sources) == (first.digest, first.sources)
    assert isinstance(again.training.streams["jsonl"], np.memmap)
    assert isinstance(again.held_out.streams["jsonl"], np.memmap)
    names = ["00-jsonl.held-out.bin", "00-jsonl.training.bin", "corpus.json", "tokenizer.json"]
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == names


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source, folder="a")
    _made(tmp_path, source, folder="b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_tokenizer_file_is_copied_as_it_is(tmp_path: Path, saved: Tokenizer) -> None:
    data = _data(_jsonl(tmp_path), tokenizer={"file": "tokenizer.json"})
    corpus = prepare(data, tmp_path / "tokens", base=tmp_path)
    assert corpus.tokenizer.digest == saved.digest
    assert load_tokenizer(tmp_path / "tokens" / "tokenizer.json").digest == saved.digest


def test_another_configuration_is_refused_and_named(tmp_path: Path) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source)
    with pytest.raises(UsageError, match=r"corpus.json: .* configuration \(held_out differs\)"):
        prepare(_data(source, held_out=5), tmp_path / "tokens", base=tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("00-jsonl.training.bin", b"", "00-jsonl.training.bin: not as corpus.json .* has 0 bytes"),
        ("00-jsonl.held-out.bin", None, "00-jsonl.held-out.bin: not as .* it is missing"),
        ("tokenizer.json", None, "tokenizer.json: cannot be read"),
        ("corpus.json", b"{}", "corpus.json: damaged at made_from: Field required"),
        ("corpus.json", b"{", "corpus.json: not JSON"),
    ],
)
def test_changed_token_files_are_refused(
    tmp_path: Path, name: str, change: bytes | None, message: str
) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source)
    path = tmp_path / "tokens" / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change)
    with pytest.raises(CircuitsError, match=message):
        _made(tmp_path, source)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source)
    path = tmp_path / "tokens" / "00-jsonl.training.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bin: not as corpus.json .* its sha256 differs"):
        _made(tmp_path, source)


def test_another_tokenizer_is_found_and_another_layout_of_it_is_none(tmp_path: Path) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source)
    path = tmp_path / "tokens" / "tokenizer.json"
    says = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(says, indent=4), encoding="utf-8")
    _made(tmp_path, source)

    says["model"]["vocab"]["a"], says["model"]["vocab"]["b"] = (
        says["model"]["vocab"][name] for name in "ba"
    )
    path.write_text(json.dumps(says), encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"tokenizer.json: not as corpus.json .* its sha256 differs"
    ):
        _made(tmp_path, source)


def test_of_a_huge_file_the_size_alone_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _jsonl(tmp_path)
    _made(tmp_path, source)
    monkeypatch.setattr("pytest_circuits.train.data.corpus._HASHED", 10)
    path = tmp_path / "tokens" / "00-jsonl.training.bin"
    path.write_bytes(bytes(path.stat().st_size))
    _made(tmp_path, source)
    path.write_bytes(b"0" * 11)
    with pytest.raises(UsageError, match="it has 11 bytes, not"):
        _made(tmp_path, source)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    assert _made(tmp_path, _jsonl(tmp_path)).sources[0].documents == 40


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokenizer.json").write_text("mine")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        _made(tmp_path, _jsonl(tmp_path))
    assert (tmp_path / "tokens" / "tokenizer.json").read_text() == "mine"


def test_an_interruption_leaves_nothing_and_the_next_call_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _jsonl(tmp_path)
    (tmp_path / ".tokens.unfinished").mkdir()  # of a process that was killed
    (tmp_path / ".tokens.unfinished" / "junk").touch()

    def interrupt(*_: object) -> list[list[int]]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Tokenizer, "encode_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _made(tmp_path, source)
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]
    corpus = _made(tmp_path, source)
    assert corpus.sources[0].documents == 40


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "tokens: the disk is full"),
        (errno.EIO, "tokens: tokenising failed: [Errno 5]"),
    ],
)
def test_a_disk_that_is_full_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(TokenWriter, "add", fail)
    assert _refused(tmp_path, _jsonl(tmp_path)).startswith(message)


# Long texts and large vocabularies


def test_long_documents_are_encoded_in_parts_to_the_same_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{_document(index)}\n\n  indented\n" for index in range(20))
    (tmp_path / "lines.jsonl").write_text(f"{json.dumps({'text': text})}\n" * 5)
    source = {"jsonl": {"path": "lines.jsonl"}}
    whole = _made(tmp_path, source, folder="a")
    monkeypatch.setattr(tokenise, "_PIECE", 100)
    monkeypatch.setattr(tokenise, "_BATCH", 300)
    assert _made(tmp_path, source, folder="b").digest == whole.digest
    assert all(len(part) <= 7 for part in tokenise.cut("a" * 20, most=7))


def test_the_tokenizer_is_learnt_on_texts_from_the_first_to_the_last() -> None:
    texts = [f"{index:04}" for index in range(1000)]
    assert tokenise.spread(texts, most=4000) == texts
    sample = tokenise.spread(texts, most=500)
    assert sample == texts[::8][: len(sample)]
    assert int(sample[-1]) > 900
    assert tokenise.spread(["\u00e9" * 10], most=5) == ["\u00e9\u00e9"]


def test_the_tokenizer_does_not_see_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def spy(texts: Iterator[str], *, most: int) -> list[str]:
        assert most == tokenise.LEARNT_ON
        seen.extend(texts)
        return seen

    monkeypatch.setattr("pytest_circuits.train.data.corpus.spread", spy)
    _made(tmp_path, _jsonl(tmp_path))
    assert seen == [_document(index) for index in range(40) if index % 4]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, "<u2"), (2**16 + 1, "<u4")])
def test_ids_take_two_bytes_where_they_fit(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    path = tmp_path / "ids.bin"
    with path.open("wb") as file:
        writer = TokenWriter(file, vocab_size, end=0)
        writer.add([1, vocab_size - 1], text_bytes=9)
        writer.end_document()
        writer.end_document()
        facts = writer.close()
    assert path.read_bytes() == np.array([1, vocab_size - 1, 0], dtype=dtype).tobytes()
    assert open_tokens(path, vocab_size=vocab_size).tolist() == [1, vocab_size - 1, 0]
    assert (facts.tokens, facts.documents, facts.text_bytes) == (3, 1, 9)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(UsageError, match="gives the id 300 and says that it has 300 tokens"):
        TokenWriter(io.BytesIO(), 300, end=0).add([300], text_bytes=1)


# Rows


def _mixture(**shares: float) -> Mixture:
    streams = {name: np.arange(90) + 100 * number for number, name in enumerate(shares)}
    return Mixture(streams, shares)


def test_rows_are_a_function_of_seed_and_step() -> None:
    mixture = _mixture(a=1, b=1)
    rows = mixture.rows(seed=3, step=7, count=4, length=9)
    assert (rows.shape, rows.dtype) == ((4, 9), torch.int64)
    assert torch.equal(rows, mixture.rows(seed=3, step=7, count=4, length=9))
    assert not torch.equal(rows, mixture.rows(seed=3, step=8, count=4, length=9))
    assert not torch.equal(rows, mixture.rows(seed=4, step=7, count=4, length=9))


def test_shares_decide_how_many_rows_a_source_gets() -> None:
    mixture = _mixture(a=6, b=3, c=1)
    rows = mixture.rows(seed=0, step=0, count=4000, length=2)
    counts = Counter((rows[:, 0] // 100).tolist())
    assert [counts[source] / 4000 for source in range(3)] == pytest.approx(
        [0.6, 0.3, 0.1], abs=0.03
    )
    assert (mixture.only("b").rows(seed=0, step=0, count=50, length=2) // 100 == 1).all()


def test_rows_reach_both_ends_of_a_stream_and_no_further() -> None:
    rows = _mixture(a=1).rows(seed=0, step=0, count=2000, length=88)
    assert set(rows[:, 0].tolist()) == {0, 1, 2}
    assert _mixture(a=1).rows(seed=0, step=0, count=1, length=90).tolist() == [list(range(90))]


def test_a_stream_that_is_shorter_than_a_row_is_named() -> None:
    mixture = _mixture(a=1, b=1)
    mixture.check(90)
    with pytest.raises(UsageError, match=r"a row takes 91 tokens .* source 'a' has 90 here"):
        mixture.check(91)
