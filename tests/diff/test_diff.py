"""`pytest-circuits diff` on updates of a model whose circuit is known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from click.testing import CliRunner, Result

from pytest_circuits.cli import main
from pytest_circuits.model.sparse.directory import load_sparse_model
from tests.known_models import QUOTE_PATH, Weights, quote_copier, quote_spec, write_quote_copier
from tests.known_models.updates import IN_PLACE, JOINED, updated
from tests.known_models.workshop import renumbered, write_like

UPDATES = {
    "base": Weights(),
    "jittered": Weights(path=1.4, jitter=0.05),
    "weaker": Weights(sharp=1.0),
    "replaced": Weights(path=0.01, weak=1.5),
    "gone": Weights(path=0.0, weak=0.0),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every update, and the specification of the quote's circuit."""
    folder = tmp_path_factory.mktemp("diff")
    for name, weights in UPDATES.items():
        write_quote_copier(folder / name, weights)
    (folder / "circuits").mkdir()
    text = quote_spec(QUOTE_PATH, model="../base", protocol="{pairs: 100}")
    (folder / "circuits" / "quote_close.circuit.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def renumbered_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose channels can be told apart, and the same with another numbering."""
    folder, answer = tmp_path_factory.mktemp("renumbered"), quote_copier(0)
    base = load_sparse_model(answer.write(folder / "base"))
    write_like(base, renumbered(base, seed=1), folder / "moved")
    (folder / "circuits").mkdir()
    text = answer.spec_with(answer.nodes).replace("model: model", "model: ../base")
    (folder / "circuits" / f"{answer.name}.circuit.yaml").write_text(text)
    return folder


def _diff(folder: Path, candidate: str, *options: str) -> Result:
    places = [str(folder / name) for name in ("base", candidate, "circuits")]
    return CliRunner().invoke(main, ["diff", *places, *options])


@pytest.mark.parametrize(
    ("candidate", "change"),
    [
        ("base", "kept"),
        ("jittered", "kept"),
        ("weaker", "weakened"),
        ("replaced", "replaced"),
        ("gone", "gone"),
    ],
)
def test_each_update_is_told_in_one_word(folder: Path, candidate: str, change: str) -> None:
    result = _diff(folder, candidate)

    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"quote_close: {change}\n")
    assert result.output.endswith(f"{folder / candidate} against {folder / 'base'}: 1 {change}\n")


@pytest.mark.parametrize("name", JOINED)
def test_a_path_that_joins_at_the_last_channel_does_not_leave_a_circuit_kept(
    folder: Path, name: str
) -> None:
    base = load_sparse_model(folder / "base")
    write_like(base, updated(base, JOINED[name]), folder / "joined")

    output = _diff(folder, "joined").output

    assert output.startswith("quote_close: weakened\n")
    told = " ".join(output.split())
    assert "nats of the preference, before " in told
    assert "an effect changes by " in told


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_circuit_whose_signs_and_gains_are_undone_is_kept(folder: Path, name: str) -> None:
    base = load_sparse_model(folder / "base")
    write_like(base, updated(base, IN_PLACE[name]), folder / "undone")

    assert _diff(folder, "undone").output.startswith("quote_close: kept\n")


def _told(folder: Path, candidate: str, spec: str, base: str = "base") -> list[str]:
    """What is said about another specification: the word, then the reason."""
    file = folder / "other.circuit.yaml"
    file.write_text(spec)
    places = [str(place) for place in (folder / base, folder / candidate, file)]
    result = CliRunner().invoke(main, ["diff", *places])
    assert result.exit_code == 0, result.output
    reason = result.output.partition("\n\n")[0]
    return [" ".join(line.split()) for line in reason.split("\n", 1)]


@pytest.mark.parametrize(("candidate", "change"), [("weaker", "weakened"), ("gone", "replaced")])
def test_a_circuit_that_told_nothing_apart_is_judged_by_whether_it_is_needed(
    folder: Path, candidate: str, change: str
) -> None:
    dangling = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook != "final_resid"}
    spec = quote_spec(dangling, claims=["behaves"], protocol="{pairs: 100}")

    word, reason = _told(folder, candidate, spec.replace("rate: 0.98", "rate: 0.4"))

    assert word == f"quote_close: {change}"
    assert reason.endswith("; alone it told nothing apart before")


def test_what_was_below_its_rate_before_is_not_gone(folder: Path) -> None:
    spec = quote_spec(QUOTE_PATH, behavior="nonsense", protocol="{pairs: 100}")

    word, reason = _told(folder, "base", spec)

    assert word == "quote_close: kept"
    assert reason.endswith("; before, the whole model was below the 98.0 % that `behaves` asks for")


def test_what_was_below_its_rate_before_can_fall_further(folder: Path) -> None:
    spec = quote_spec(QUOTE_PATH, behavior="nonsense", protocol="{pairs: 100}")

    word, reason = _told(folder, "base", spec, base="gone")

    assert word == "quote_close: gone"
    assert reason.startswith("the whole model prefers the answer on 0.0 % of prompts, before on ")


def test_reasons_are_wrapped_and_keep_percent_signs_with_their_numbers(folder: Path) -> None:
    lines = _diff(folder, "replaced").output.partition("\n\n")[0].splitlines()

    assert len(lines) == 4
    assert all(len(line) <= 100 for line in lines)
    assert all(line.startswith("  ") and not line.startswith("  %") for line in lines[1:])
    assert re.search(r"alone its rate drops by \d\d\.\d %", lines[1])


def test_every_node_is_shown_with_its_effects(folder: Path) -> None:
    lines = [line.split() for line in _diff(folder, "replaced").output.splitlines()]

    (row,) = (line for line in lines if line[:1] == ["0.attn.resid_delta[2]"])
    before, after, signal = map(float, row[1:])
    assert before > 5
    assert abs(after) < 0.2
    assert signal == 1  # it carries the same, hundred times smaller


def test_nodes_that_moved_are_shown_where_they_are(renumbered_folder: Path, tmp_path: Path) -> None:
    files = tmp_path / "diff.json", tmp_path / "diff.svg"
    written = ["--json", str(files[0]), "--svg", str(files[1])]

    output = _diff(renumbered_folder, "moved", *written).output

    assert output.startswith("quote_close: moved\n")
    assert " nodes have other numbers\n" in output
    (circuit,) = json.loads(files[0].read_text())["circuits"]
    root = ET.fromstring(files[1].read_text())  # noqa: S314  (our own file)
    labels = [e.text for e in root.iter() if e.get("class") == "small"]
    tooltips = [e.text or "" for e in root.iter() if e.tag.endswith("title")]
    there = {node["node"]: node["address"] for node in circuit["nodes"]}
    numbers = torch.randperm(
        load_sparse_model(renumbered_folder / "base").config.d_model,
        generator=torch.Generator().manual_seed(1),
    ).tolist()
    for node, address in there.items():
        hook, channel = node.rstrip("]").split("[")
        moved = hook.endswith(("act_in", "resid_delta", "final_resid"))  # heads stayed
        assert address == f"{hook}[{numbers.index(int(channel)) if moved else channel}]"
        assert address in output
        now = address.rstrip("]").split("[")[1]
        assert (channel if now == channel else f"{channel} \u2192 {now}") in labels
        assert any(t.startswith(f"{node}: ") and address in t for t in tooltips)


@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        (("final_resid",), "its only node has another number"),
        (("0.attn.v", "final_resid"), "1 of 2 nodes has another number"),
    ],
)
def test_how_many_nodes_moved_is_told_in_plain_words(
    renumbered_folder: Path, hooks: tuple[str, ...], reason: str
) -> None:
    answer = quote_copier(0)
    nodes = {hook: answer.nodes[hook][:1] for hook in hooks}
    spec = answer.spec_with(nodes).replace("rate: 0.95", "rate: 0.4")

    assert _told(renumbered_folder, "moved", spec) == ["quote_close: moved", reason]


def test_the_record_names_both_models_and_no_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "diff.json"

    _diff(folder, "jittered", "--json", str(file))

    text = file.read_text()
    record = json.loads(text)
    assert record["candidate"]["path"] == "jittered"
    assert record["base"]["digest"] == load_sparse_model(folder / "base").digest
    assert str(folder) not in text
    assert record["circuits"][0]["change"] == "kept"


def test_models_are_named_as_they_were_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "diff.json", tmp_path / "diff.svg"
    monkeypatch.chdir(folder / "base")
    written = ["--json", str(files[0]), "--svg", str(files[1])]

    result = CliRunner().invoke(main, ["diff", ".", "../jittered", "../circuits", *written])

    assert result.exit_code == 0, result.output
    record = json.loads(files[0].read_text())
    assert record["base"]["path"] == "base"
    assert record["candidate"]["path"] == "../jittered"
    assert "<title>../jittered against base</title>" in files[1].read_text()


def test_the_picture_is_one_file_of_xml_with_a_ring_for_each_node(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "diff.svg"

    _diff(folder, "replaced", "--svg", str(file))

    root = ET.fromstring(file.read_text())  # noqa: S314  (our own file)
    rings = [e for e in root.iter() if e.get("class") == "ring"]
    assert len(rings) == 1 + sum(map(len, QUOTE_PATH.values()))  # and one in the legend
    (chip,) = (e for e in root.iter() if e.get("class") == "chip")
    (pill,) = (e for e in root.iter() if e.get("rx"))
    left, width = (float(pill.get(key, "nan")) for key in ("x", "width"))
    assert chip.text == "replaced"
    assert float(chip.get("x", "nan")) == left + width / 2
    assert width > 8.5 * len("weakened") + 20
    assert "http" not in file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")


@pytest.mark.parametrize(("candidate", "status"), [("jittered", 0), ("replaced", 1)])
def test_the_exit_code_can_tell_whether_all_are_kept(
    folder: Path, candidate: str, status: int
) -> None:
    assert _diff(folder, candidate, "--exit-code").exit_code == status


def test_a_folder_without_circuits_is_refused(folder: Path, tmp_path: Path) -> None:
    places = [str(folder / "base"), str(folder / "gone"), str(tmp_path)]

    result = CliRunner().invoke(main, ["diff", *places])

    assert result.exit_code == 4
    assert "no specification (*.circuit.yaml) with nodes in" in result.stderr


def test_models_with_other_tokenizers_are_not_comparable(folder: Path, tmp_path: Path) -> None:
    other = write_quote_copier(tmp_path / "other")
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|end|>", "<|stop|>"))
    (other / "reference.safetensors").unlink()

    result = CliRunner().invoke(
        main, ["diff", str(folder / "base"), str(other), str(folder / "circuits")]
    )

    assert result.exit_code == 2
    assert "not comparable: its tokenizer is not the one of the model" in result.stderr
