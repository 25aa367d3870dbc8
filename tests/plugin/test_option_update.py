"""`--circuits-update`: which baselines are written, and when the run says what."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_circuits.cli import main
from tests.known_models import Weights, write_quote_copier
from tests.plugin.conftest import FOUR, Repository, spec_text

MISSING = "*no baseline is recorded: run `pytest --circuits --circuits-update=new`*"


def baseline(repository: Repository, name: str = "quote_close") -> Path:
    """Where the baseline of a circuit lies."""
    return repository.path / f"circuits/{name}.baseline.yaml"


def test_a_missing_baseline_fails_the_gate_and_names_the_command(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines([MISSING])
    result.stdout.fnmatch_lines(
        ["fail * quote_close * stable*", "    no baseline is recorded"], consecutive=True
    )
    assert not baseline(repository).exists()


def test_new_records_a_missing_baseline_and_is_no_verdict(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)

    result = repository.gate("--circuits-update=new")

    assert result.ret == 0
    assert baseline(repository).exists()
    result.stdout.fnmatch_lines(
        [
            "recorded * quote_close * stable*",
            "circuits/quote_close.baseline.yaml: recorded; review and commit it",
            "gate: BASELINE RECORDED*",
        ]
    )


def test_the_next_run_compares_with_what_was_recorded(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")

    result = repository.gate()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["pass * quote_close * stable * 0.0", "gate: PASS*"])


def test_new_leaves_a_baseline_that_is_there(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    before = baseline(repository).stat().st_mtime_ns

    result = repository.gate("--circuits-update=new")

    assert result.ret == 0
    assert baseline(repository).stat().st_mtime_ns == before
    result.stdout.fnmatch_lines(["gate: PASS*"])


def test_changed_replaces_a_baseline_of_another_specification(repository: Repository) -> None:
    spec = repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    spec.write_text(spec.read_text().replace("search: 10", "search: 11"))

    refused = repository.gate()
    replaced = repository.gate("--circuits-update=changed")
    after = repository.gate()

    assert (refused.ret, replaced.ret, after.ret) == (2, 0, 0)
    refused.stdout.fnmatch_lines(
        ["*the baseline beside it was recorded for another specification*"]
    )
    replaced.stdout.fnmatch_lines(["gate: BASELINE RECORDED*"])


def test_changed_says_when_nothing_changed(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")

    result = repository.gate("--circuits-update=changed")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["circuits/quote_close.baseline.yaml: unchanged", "gate: PASS*"])


def test_changed_says_in_numbers_what_it_accepts(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    before = baseline(repository).read_text(encoding="utf-8")
    write_quote_copier(repository.path / "updated", Weights(path=1.3, jitter=0.05))

    result = repository.gate("--circuits-model=updated", "--circuits-update=changed")

    assert result.ret == 0
    told = " ".join(result.stdout.str().split())
    assert re.search(
        r"it accepts: model \w{12} -> \w{12}; necessary 59.4 % -> 53.1 %; the circuit's", told
    )
    assert re.search(r"effect of \S+ \d\.\d\d -> \d\.\d\d nats", told)
    after = baseline(repository).read_text(encoding="utf-8")
    changed = {*after.splitlines()} - {*before.splitlines()}
    assert any(line.startswith("  0.attn.resid_delta[2] ") for line in changed)


def test_changed_accepts_a_model_with_another_tokenizer_and_says_so(
    repository: Repository,
) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    folder = write_quote_copier(repository.path / "updated")
    tokenizer = folder / "tokenizer.json"
    text = tokenizer.read_text(encoding="utf-8")
    tokenizer.write_text(text.replace("<|end|>", "<|stop|>"), encoding="utf-8")
    (folder / "reference.safetensors").unlink()
    CliRunner().invoke(main, ["reference", str(folder), "--like", str(repository.path / "model")])
    shutil.rmtree(repository.path / "model")
    folder.rename(repository.path / "model")

    result = repository.gate("--circuits-update=changed")

    assert result.ret == 0
    told = " ".join(result.stdout.str().split())
    assert "another tokenizer or shape, so that nodes and prompts are not compared" in told


def test_other_claims_still_decide(repository: Repository) -> None:
    spec = repository.write_bad_spec()
    more = "  necessary: {max_rate: 0.65}\n  stable: {max_drop: 0.02}\nprotocol:"
    spec.write_text(spec.read_text().replace("protocol:", more))

    result = repository.gate("--circuits-update=new")

    assert result.ret == 1
    assert not baseline(repository, "weak_path").exists()
    result.stdout.fnmatch_lines(
        [
            "weak_path: no baseline was recorded: sufficient, necessary do not pass",
            "gate: FAIL*",
        ]
    )


def test_a_circuit_that_ran_in_part_is_not_recorded(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)

    result = repository.gate(
        "circuits/quote_close.circuit.yaml::quote_close::stable", "--circuits-update=new"
    )

    assert result.ret == 1
    assert not baseline(repository).exists()
    result.stdout.fnmatch_lines(
        ["quote_close: no baseline was recorded: the run is not complete without behaves, *"]
    )


def test_a_baseline_of_a_circuit_that_did_not_run_is_left(repository: Repository) -> None:
    repository.write_good_spec("one", claims=FOUR)
    repository.write_good_spec("two", claims=FOUR)
    repository.gate("--circuits-update=new")
    before = baseline(repository, "two").read_bytes()

    repository.gate("circuits/one.circuit.yaml", "--circuits-update=changed")

    assert baseline(repository, "two").read_bytes() == before


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_recording_is_refused_under_ci(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    repository.write_good_spec(claims=FOUR)
    monkeypatch.setenv(variable, "1")

    result = repository.gate("--circuits-update=new")

    assert result.ret == 4
    assert not baseline(repository).exists()
    result.stderr.fnmatch_lines(["ERROR: --circuits-update=new is refused under CI*"])


def test_recording_under_ci_can_be_forced(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write_good_spec(claims=FOUR)
    monkeypatch.setenv("CI", "1")

    result = repository.gate("--circuits-update=new", "--circuits-update-in-ci")

    assert result.ret == 0
    assert baseline(repository).exists()


def test_recording_and_comparing_with_a_model_exclude_each_other(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)

    result = repository.gate("--circuits-update=new", "--circuits-baseline=model")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --circuits-update records baseline files, *"])


def test_a_baseline_that_cannot_be_written_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    baseline(repository).mkdir()

    result = repository.gate("--circuits-update=changed")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*quote_close.baseline.yaml: cannot be written: *directory"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_whole_space_of_many_pairs_is_recorded_whole(repository: Repository) -> None:
    word = "{choice: [alpha, beta, gamma, delta]}"
    words = "{words: {from: [alpha, beta, gamma, delta], count: [1, 4]}}"
    text = spec_text(claims=FOUR).replace(word, words).replace("pairs: 100", "pairs: 2000")
    repository.write("circuits/quote_close.circuit.yaml", text)
    repository.gate("--circuits-update=new")

    result = repository.gate()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["pass * stable * whole space *"])
