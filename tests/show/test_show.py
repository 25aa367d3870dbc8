"""`pytest-circuits show` on models whose circuits are known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_circuits.cli import main
from pytest_circuits.show.layout import number, token, total, wrapped
from tests.known_models import (
    NOWHERE,
    OUT,
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    merged,
    quote_spec,
    write_quote_copier,
)

NEURONS: Circuit = {
    "1.mlp.act_in": [OUT],
    "1.mlp.post_act": [0, 1],
    "1.mlp.resid_delta": [NOWHERE],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    write_quote_copier(folder / "model")
    return folder


def _show(folder: Path, text: str, *options: str) -> Result:
    path = folder / "quote_close.circuit.yaml"
    path.write_text(text)
    return CliRunner().invoke(main, ["show", str(path), *options])


def _shown(folder: Path, nodes: Circuit = QUOTE_PATH, **spec: str) -> str:
    """The program, without what is said of its parts."""
    result = _show(folder, quote_spec(nodes, **spec))
    assert result.exit_code == 0, result.output
    program, _, said = result.output.partition("\n\nThis is a mechanism that the model uses.")
    assert "\n\nWhat each part does in the whole model." in said
    assert max(map(len, said.splitlines())) < 100
    return program


def test_the_known_head_is_written_out_with_its_weights(folder: Path) -> None:
    lines = [line.strip() for line in _shown(folder).splitlines()]
    assert "head 0" in lines
    assert "k[0]  = 2 act_in[0]" in lines
    assert "v[0]  = 1 act_in[1]" in lines
    assert "q[0]  = 8" in lines
    assert "score = 0.354 q[0] k[0]" in lines
    assert any(line.startswith("resid_delta[2] = 1.5 seen v[0]") for line in lines)
    assert "final_resid[2] = 3" in [re.sub(" +", " ", line) for line in lines]


def test_the_cue_stands_beside_the_tokens_that_write_what_is_read(folder: Path) -> None:
    (detect,) = re.findall(r"resid\[0\] = (.*)", _shown(folder))
    (kind,) = re.findall(r"resid\[1\] = (.*)", _shown(folder))
    assert detect.startswith("""' "' 4, " '" 4""")
    assert kind.startswith("""' "' 4, " '" -4""")


def test_the_head_attends_to_the_cue_of_each_prompt(folder: Path) -> None:
    output = _shown(folder)
    assert re.search(r"""' =' \S+, ' "' (0.9\d+|1), 'alpha'""", output)
    assert re.search(r"""' =' \S+, " '" (0.9\d+|1), 'alpha'""", output)


def test_the_last_lines_say_what_the_circuit_prefers(folder: Path) -> None:
    *_, first, second = _shown(folder).splitlines()
    assert re.fullmatch(r"""  after 'x = "alpha': '"' over "'" by [\d.]+ nats""", first)
    assert re.fullmatch(r"""  after 'x = 'alpha': "'" over '"' by [\d.]+ nats""", second)


def test_neurons_have_their_inputs_and_their_writes(folder: Path) -> None:
    nodes = merged(QUOTE_PATH, NEURONS, {"final_resid": [NOWHERE]})
    lines = [line.strip() for line in _shown(folder, nodes, ablation="zero").splitlines()]
    assert "post_act[0]    = relu(1 act_in[2])" in lines
    assert "post_act[1]    = relu(-1 act_in[2])" in lines
    assert "resid_delta[9] = 1 post_act[0] - 1 post_act[1]" in lines
    assert any("Everything else is zero." in line for line in lines)


def test_of_listed_edges_alone_the_inputs_and_weights_are_printed(folder: Path) -> None:
    nodes = merged(QUOTE_PATH, WEAK_PATH, NEURONS, {"final_resid": [NOWHERE]})
    listed = {
        "0.attn.act_in -> 0.attn.k": [[0, 0]],
        "0.attn.act_in -> 0.attn.v": [[1, 0]],
        "0.attn.v -> 0.attn.resid_delta": [[0, 2]],
        "1.mlp.act_in -> 1.mlp.post_act": [[2, 0], [2, 1]],
        "1.mlp.post_act -> 1.mlp.resid_delta": [[0, 9]],
    }
    edges = "".join(f"  {key}: {pairs}\n" for key, pairs in listed.items())

    every = _shown(folder, nodes, ablation="zero")
    shown = _shown(folder, nodes, ablation="zero", extra=f"edges:\n{edges}")

    assert "19 nodes, 10 edges." in every.replace("\n", " ")
    assert "19 nodes, 6 edges." in shown.replace("\n", " ")
    assert "resid_delta[9] = 1 post_act[0] - 1 post_act[1]" in every
    assert "resid_delta[9] = 1 post_act[0]\n" in shown
    assert ("resid[4]" in every, "resid[4]" in shown) == (True, False)
    assert "seen v[8]" not in shown
    assert (
        "without an edge that leads on: 0.attn.act_in[3], 0.attn.act_in[4], 0.attn.v[8], "
        "1.mlp.post_act[1]"
    ) in shown


def test_nodes_that_nothing_reads_are_named(folder: Path) -> None:
    output = _shown(folder, merged(QUOTE_PATH, NEURONS))
    assert "1.mlp\n" not in output
    assert (
        "without effect: 1.mlp.act_in[2], 1.mlp.post_act[0], 1.mlp.post_act[1], "
        "1.mlp.resid_delta[9]"
    ) in output


def test_a_circuit_under_resample_ablation_is_shown_at_its_means(folder: Path) -> None:
    assert "resampled in the claims" in _shown(folder, ablation="resample")


def test_no_line_is_wider_than_the_page(folder: Path) -> None:
    everything = {"0.attn.act_in": range(64), "0.attn.v": range(64), "0.attn.k": range(64)}
    rest = {"0.attn.resid_delta": range(64), "final_resid": range(64), "0.mlp.act_in": [60]}
    assert max(map(len, _shown(folder, merged(everything, rest)).splitlines())) < 100


def test_another_model_can_be_named(folder: Path) -> None:
    text = quote_spec(QUOTE_PATH, model="elsewhere")
    assert _show(folder, text).exit_code == 2
    assert "no such model directory" in _show(folder, text).output
    assert _show(folder, text, "--model", str(folder / "model")).exit_code == 0


def test_a_specification_without_nodes_is_refused_at_its_line(folder: Path) -> None:
    result = _show(folder, quote_spec({}))
    assert result.exit_code == 2
    assert "quote_close.circuit.yaml:2:1: circuit 'quote_close' has no nodes to show" in (
        result.output
    )


def test_nodes_that_the_model_does_not_have_are_refused(folder: Path) -> None:
    result = _show(folder, quote_spec({"0.attn.q": [999]}))
    assert result.exit_code == 2
    assert "node 0.attn.q[999] is out of range" in result.output


def test_numbers_and_sums_are_short() -> None:
    assert [number(x) for x in (1 / 3, -0.0, 1e-9, 12.0)] == ["0.333", "0", "0", "12"]
    assert total([(1.5, "a"), (0.0, "b"), (-2.0, "c")], 0.25) == ["1.5 a", "- 2 c", "+ 0.25"]
    assert total([(-1.0, "a")]) == ["-1 a"]
    assert total([]) == ["0"]
    assert [token(text) for text in ("a", "'", "'\"", "\n")] == ["'a'", '"\'"', "''\"'", r"'\n'"]


def test_a_piece_is_never_broken() -> None:
    lines = wrapped(["x" * 40] * 4, "head ")
    assert lines == [f"head {'x' * 40} {'x' * 40}", f"     {'x' * 40} {'x' * 40}"]


def test_a_calibration_is_shown_and_moves_what_is_preferred(folder: Path) -> None:
    plain = _shown(folder)
    shown = _shown(folder, extra="calibration: {scale: 1.7, shift: -0.5}\n")
    line = """Calibrated: -0.5 nats are added for '"', and the task loss takes the preference"""
    assert f"{line} times 1.7." in shown.replace("\n", " ")
    assert re.search(r"  calibration +\S* *= -0.5\n", shown)
    before, after = ([float(n) for n in re.findall(r"by (\S+) nats", x)] for x in (plain, shown))
    assert after == pytest.approx([before[0] - 0.5, before[1] + 0.5], abs=0.06)
    assert "alibrat" not in plain
