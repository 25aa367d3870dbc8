"""Heads that count at some tokens alone, through the doors that users use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

import tests.loaded  # noqa: F401  (for the runs inside this process)
from pytest_circuits.cli import main
from tests.huggingface.side import reference_text, spec, write

PLACED = {"0.attn.head at last": [5], "1.attn.head at last": [11]}
STABLE = {"stable": "{max_drop: 0.06}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("side")
    text = reference_text(top / "text")
    for path in (write(top / "model"), write(top / "elsewhere", pair=(2, 7))):
        done = CliRunner().invoke(main, ["reference", str(path), "--text", str(text)])
        assert done.exit_code == 0, done.output
    return top


@pytest.fixture
def file(pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(folder, pytester.path, dirs_exist_ok=True)
    found = pytester.path / "circuits" / "side.circuit.yaml"
    found.parent.mkdir()
    found.write_text(spec(nodes=PLACED, **STABLE))
    return found


def test_a_circuit_at_its_places_passes_and_is_compared_with_its_baseline(
    pytester: pytest.Pytester, file: Path
) -> None:
    first = pytester.runpytest_inprocess("--circuits", "--circuits-update=new")
    first.stdout.fnmatch_lines(
        [
            *(f"pass*side*{claim}*" for claim in ("behaves", "sufficient", "necessary")),
            "recorded*side*stable*",
            "*gate: BASELINE RECORDED*",
        ]
    )
    assert "0.attn.head[5] at last " in file.with_name("side.baseline.yaml").read_text()

    second = pytester.runpytest_inprocess("--circuits", "--circuits-report=r.json")
    assert second.ret == 0, second.stdout.str()
    (circuit,) = json.loads((pytester.path / "r.json").read_text())["circuits"]
    assert circuit["nodes"] == 2
    assert circuit["drawing"]["nodes"] == ["0.attn.head[5] at last", "1.attn.head[11] at last"]

    third = pytester.runpytest_inprocess("--circuits", "--circuits-model=elsewhere")
    assert third.ret == 1
    third.stdout.fnmatch_lines(["pass*side*behaves*", "fail*side*sufficient*", "fail*side*stable*"])


def test_at_other_places_it_fails(pytester: pytest.Pytester, file: Path) -> None:
    file.write_text(spec(nodes={name.replace("last", "cue"): n for name, n in PLACED.items()}))

    found = pytester.runpytest_inprocess("--circuits")

    assert found.ret == 1
    found.stdout.fnmatch_lines(
        ["pass*side*behaves*", "fail*side*sufficient*", "fail*side*necessary*"]
    )


def test_what_is_not_clear_is_refused_at_its_line(pytester: pytest.Pytester, file: Path) -> None:
    nodes = {"0.attn.head at lst": [5], "1.attn.head at last": [11]}
    file.write_text(spec(nodes=nodes))
    found = pytester.runpytest_inprocess("--circuits")
    assert found.ret == 2
    found.stdout.fnmatch_lines(
        ["*side.circuit.yaml:13:3: the prompt has no 'lst', *; did you mean 'last'?"]
    )

    behind = spec(nodes={"0.attn.head at last": [5], "0.attn.head at filling": [1]})
    file.write_text(behind.replace("{filling} now", "{filling}"))
    found = pytester.runpytest_inprocess("--circuits")
    assert found.ret == 2
    found.stdout.fnmatch_lines(
        [
            (
                "*side.circuit.yaml:13:3: the token *'w*' of the prompt 'left w*' is 'filling' "
                "and 'last', which 0.attn.head tells apart; name one of them there"
            )
        ]
    )

    file.write_text(spec(nodes={"0.attn.head at last": [16]}))
    found = pytester.runpytest_inprocess("--circuits")
    found.stdout.fnmatch_lines(
        ["*side.circuit.yaml:13:25: node 0.attn.head[[]16[]] is out of range: *channels 0 to 15"]
    )


def test_commands_tell_places(file: Path) -> None:
    run = CliRunner()

    said = run.invoke(main, ["show", str(file)])
    assert said.exit_code == 0, said.output
    assert "0.attn.head[5] at last: attention head 5 of layer 0" in said.output
    picture = file.with_name("side.svg")
    assert run.invoke(main, ["show", str(file), "--svg", str(picture)]).exit_code == 0
    assert "1.attn.head at last" in picture.read_text()
    assert run.invoke(main, ["plan", str(file)]).exit_code == 0
    changed = run.invoke(main, ["diff", "model", "elsewhere", str(file)])
    assert changed.exit_code == 0, changed.output
    assert "0.attn.head[5] at last" in changed.output
    assert "0.attn.head[2] at last" in changed.output  # where it is found again

    refused = run.invoke(main, ["prune", str(file)])
    assert refused.exit_code == 2
    assert "13:3: a search finds nodes that count at all tokens, and would replace" in (
        refused.output
    )
