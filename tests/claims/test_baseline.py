"""A baseline file keeps what it was given, and is refused when it belongs to something else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline import check_comparable
from pytest_circuits.claims.stable.baseline_file import (
    baseline_path,
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.errors import BaselineError, ModelError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import parse_spec
from tests.claims.conftest import QUICK, MakeBench
from tests.known_models import QUOTE_PATH, WEAK_PATH, quote_spec, write_quote_copier


@pytest.fixture(scope="module")
def recorded(copier: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline file of the quote copier."""
    folder = tmp_path_factory.mktemp("recorded")
    loaded = parse_spec(quote_spec(QUOTE_PATH, protocol=QUICK), path=folder / "q.circuit.yaml")
    bench = make_bench(loaded, copier)
    path = baseline_path(bench.loaded.path, "quote_close")
    write_baseline(path, record_baseline(bench, [run_claim(bench, "behaves")]))
    assert path == folder / "quote_close.baseline.yaml"
    return path


@pytest.fixture
def file(recorded: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own."""
    return Path(shutil.copy(recorded, tmp_path))


def test_what_is_read_is_what_was_recorded_to_a_few_digits(bench_of: MakeBench, file: Path) -> None:
    recorded = record_baseline(bench_of(QUOTE_PATH), [])

    read = read_baseline(file)

    assert read is not None
    found, kept = read.observation, recorded.observation
    np.testing.assert_allclose(found.whole, kept.whole, rtol=1e-5)
    np.testing.assert_allclose(found.alone, kept.alone, rtol=1e-5)
    np.testing.assert_allclose(found.without, kept.without, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.signals, kept.signals, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(found.effects, kept.effects, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(found.attention, kept.attention, rtol=1e-2, atol=1e-9)
    np.testing.assert_allclose(found.probed, kept.probed, rtol=1e-3, atol=1e-9)
    assert found.probes == kept.probes
    assert read.model == recorded.model
    assert read.node_ids == recorded.node_ids
    assert read.rates["behaves"].estimate == 1.0


def test_the_same_evidence_gives_the_same_bytes(file: Path) -> None:
    before, read = file.read_bytes(), read_baseline(file)
    assert read is not None

    write_baseline(file, read)

    assert file.read_bytes() == before


def test_a_file_that_was_read_serves_as_baseline(bench_of: MakeBench, file: Path) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH, baseline=read_baseline(file)), "stable")

    assert evidence.verdict is Verdict.PASS


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / "x.baseline.yaml") is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"ablation": "zero"},
        {"protocol": "{pairs: 200}"},
        {"extra": "edges: {0.attn.act_in -> 0.attn.k: [[0, 0]]}"},
    ],
    ids=str,
)
def test_a_baseline_of_another_specification_is_refused(
    bench_of: MakeBench, file: Path, change: dict[str, str]
) -> None:
    recorded = read_baseline(file)

    with pytest.raises(BaselineError, match="recorded for another specification"):
        bench_of(QUOTE_PATH, baseline=recorded, **change)


def test_a_baseline_of_other_nodes_is_refused(bench_of: MakeBench, file: Path) -> None:
    recorded = read_baseline(file)

    with pytest.raises(BaselineError, match="--circuits-update=changed"):
        bench_of(WEAK_PATH, baseline=recorded)


def test_a_candidate_with_another_tokenizer_is_refused(file: Path, tmp_path: Path) -> None:
    folder = write_quote_copier(tmp_path / "other")
    tokenizer = folder / "tokenizer.json"
    text = tokenizer.read_text(encoding="utf-8")
    tokenizer.write_text(text.replace("<|end|>", "<|stop|>"), encoding="utf-8")
    (folder / "reference.safetensors").unlink()
    candidate = load_model(folder)
    recorded = read_baseline(file)
    assert recorded is not None

    with pytest.raises(ModelError, match="its tokenizer is not the one of the recorded baseline"):
        check_comparable(candidate, recorded.model, what="the recorded baseline")


def test_a_tokenizer_that_is_laid_out_otherwise_is_the_same_one(tmp_path: Path) -> None:
    folder = write_quote_copier(tmp_path / "model")
    before = load_model(folder)
    tokenizer = folder / "tokenizer.json"
    said = json.loads(tokenizer.read_text(encoding="utf-8"))
    tokenizer.write_text(json.dumps(said, separators=(",", ":")) + "\n\n", encoding="utf-8")

    after = load_model(folder)

    assert (after.tokenizer_digest, after.digest) == (before.tokenizer_digest, before.digest)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_older_schema_is_refused_with_the_command_that_records_it_anew(
    file: Path, version: int
) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("schema_version: 4", f"schema_version: {version}"))

    with pytest.raises(BaselineError, match="recorded by an earlier version") as error:
        read_baseline(file)

    assert "`pytest --circuits --circuits-update=changed` records it again" in str(error.value)


def test_a_file_that_was_edited_is_refused_with_the_command_that_records_it_anew(
    file: Path,
) -> None:
    text = file.read_text(encoding="utf-8")
    line = next(x for x in text.splitlines() if x.startswith("  final_resid[2] "))
    file.write_text(text.replace(line, "  final_resid[2] 1", 1))

    with pytest.raises(BaselineError, match="was edited after it was recorded") as error:
        read_baseline(file)

    assert "`pytest --circuits --circuits-update=changed` records it again" in str(error.value)


def test_line_ends_and_comments_are_no_edits(file: Path) -> None:
    before = read_baseline(file)
    text = f"# reviewed\n{file.read_text(encoding='utf-8')}\n"
    file.write_bytes(text.replace("\n", "\r\n").encode())

    after = read_baseline(file)

    assert before is not None
    assert after is not None
    assert np.array_equal(after.observation.whole, before.observation.whole)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema_version: 4", "schema_version: 5", "schema_version"),
        ('\ndigest: "', '\ndigest: "x', "digest"),
        ("alpha: 0.01", "alpha: .nan", "alpha"),
        ("alpha: 0.01", "alpha: 0.01\nalpha: 0.02", "duplicate key"),
        ("margins: |\n  ", "margins: |\n  nan nan nan nan nan nan\n  ", "finite numbers"),
        ("margins: |\n  ", "margins: |\n  x ", "not a table of numbers"),
        ("margins: |\n  ", "margins: |\n  1 ", "rows of different lengths"),
        ("  final_resid[2] ", "  final_resid[2]\n  x ", "names nothing"),
        ("effects: |\n  ", "effects: |\n  0.attn.q[9] 1\n  ", "not about the same nodes"),
        ("probes: |\n  ", "probes: |\n  x 1\n  ", "rows of different lengths"),
        ("probes: |\n  0.attn.act_in[", "probes: |\n  1.mlp.act_in[", "in another order"),
        ("attention: |\n  head-0", "attention: |\n  head-1", "as many lines for each head"),
        ("\naccepted:", "\nextra: 1\naccepted:", "extra"),
        ("versions:", "versions: [", "not YAML"),
    ],
)
def test_a_damaged_file_is_refused_with_its_path_and_what_is_wrong(
    file: Path, old: str, new: str, says: str
) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(BaselineError, match=says) as error:
        read_baseline(file)

    assert str(file) in str(error.value)


def test_prompts_or_nodes_that_were_edited_away_are_noticed(
    bench_of: MakeBench, file: Path
) -> None:
    recorded = read_baseline(file)
    assert recorded is not None
    found = recorded.observation
    fewer = {name: getattr(found, name)[1:] for name in ("whole", "alone", "without")}
    write_baseline(file, replace(recorded, observation=replace(found, **fewer)))

    with pytest.raises(BaselineError, match="other prompts or nodes"):
        bench_of(QUOTE_PATH, baseline=read_baseline(file))
