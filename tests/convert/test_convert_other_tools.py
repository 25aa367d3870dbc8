"""Circuits of EAP-IG, ACDC and circuit-tracer: `convert GRAPH.json`, and `show` the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits.cli import main
from pytest_circuits.convert.parts import Part, is_parallel, parts_of
from pytest_circuits.model.open import load_model
from pytest_circuits.spec.load import load_spec
from tests.huggingface.families import make, save
from tests.huggingface.side import CIRCUIT, HEADS, spec, write
from tests.known_models import quote_spec, write_quote_copier

NEURONS = 128  # of an MLP: four times the width
MLP_1 = list(range(NEURONS))
CONFIG = {"n_layers": 2, "n_heads": HEADS, "parallel_attn_mlp": False, "d_model": 32}
ON = ("input->a0.h5<v>", "a0.h5->a1.h11<k>", "a1.h11->m1", "m1->logits")
OFF = ("input->a0.h2<q>", "a0.h3->logits", "input->logits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny GPT-2 whose two heads name the side."""
    top = tmp_path_factory.mktemp("exchange")
    write(top / "model")
    return top


@pytest.fixture
def described(folder: Path) -> Path:
    """A specification of its behavior, without nodes."""
    path = folder / "circuits" / "described.circuit.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(spec(sites=""))
    return path


def graph(
    on: Iterable[str] = ON, off: Iterable[str] = OFF, *, nodes: Iterable[str] = (), **config: object
) -> dict[str, Any]:
    """What EAP-IG writes of a graph, and of it the edges that are named."""
    edges = {name: {"score": 0.5, "in_graph": True} for name in on}
    edges |= {name: {"score": -0.01, "in_graph": False} for name in off}
    flagged = {name: {"in_graph": True} for name in ("input", "a0.h5", *nodes, "logits")}
    return {"cfg": CONFIG | config, "nodes": flagged, "edges": edges}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def convert(
    folder: Path, said: object, described: Path, *more: object, name: str = "g.json"
) -> tuple[Result, Path]:
    source, out = folder / name, folder / "circuits" / "found.circuit.yaml"
    out.unlink(missing_ok=True)
    source.write_text(said if isinstance(said, str) else json.dumps(said))
    return run("convert", source, "--behavior", described, "--out", out, *more), out


def nodes_of(path: Path) -> dict[str, list[int]]:
    return {name: list(some) for name, some in load_spec(path).spec.nodes.items()}


def test_a_graph_of_eap_ig_becomes_nodes_at_the_sites_of_the_model(
    folder: Path, described: Path
) -> None:
    said = graph(nodes=["a0.h7"], model_name="side-by-side")
    said["nodes"]["a1.h11"] = {"in_graph": True, "neurons": [[True] * 31 + [False]] * HEADS}

    done, out = convert(folder, said, described)

    assert done.exit_code == 0, done.output
    found = load_spec(out).spec
    assert nodes_of(out) == CIRCUIT | {"1.mlp.neuron": MLP_1}
    assert found.sites == ("attn.head", "mlp.neuron")
    assert found.claims == load_spec(described).spec.claims
    assert found.found_by["left_out"] == (
        "4 edges; which channels 1 node (a1.h11) write; 1 node (a0.h7); input and logits"
    )
    assert (found.found_by["heads"], found.found_by["mlps"]) == (2, 1)
    for line in (
        "2 heads and 1 mlp as 130 nodes at 3 hook points, from a circuit of EAP-IG",
        "called 'side-by-side'",
        "  1 node (a0.h7): no path of its edges leads through them",
        "  which channels 1 node (a1.h11) write: each is taken whole",
        "  input and logits: they are no nodes here",
    ):
        assert line in done.output


def test_a_threshold_decides_in_place_of_what_the_file_says(folder: Path, described: Path) -> None:
    said = graph(on=(), off=(*ON, *OFF))
    done, out = convert(folder, said, described)
    assert done.exit_code == 2
    assert "at /edges: no path leads from the input to the logits along the edges" in done.output
    assert not out.exists()

    for name in ON:
        said["edges"][name]["score"] = -0.5
    done, out = convert(folder, said, described, "--threshold", "0.1")
    assert done.exit_code == 0, done.output
    assert nodes_of(out) == CIRCUIT | {"1.mlp.neuron": MLP_1}
    assert load_spec(out).spec.found_by["threshold"] == 0.1

    done, _ = convert(folder, said, described, "--threshold", "0.7")
    assert done.exit_code == 2
    assert "score 0.7 or more (0); name a lower --threshold" in done.output


def test_what_the_specification_leaves_whole_stays_so(folder: Path, described: Path) -> None:
    described.write_text(spec(sites="[attn.head]"))
    done, out = convert(folder, graph(), described)
    assert done.exit_code == 0, done.output
    assert nodes_of(out) == CIRCUIT
    assert "1 node (mlp 1): 'sites' of the specification leave them whole" in done.output

    described.write_text(spec(sites="[resid]"))
    done, out = convert(folder, graph(), described)
    assert done.exit_code == 2
    assert f"{described}:11:9: a circuit of EAP-IG is not chosen among 'resid'" in done.output
    assert "possible: attn.head, mlp.neuron" in done.output


def test_more_nodes_than_a_specification_holds_are_refused_with_the_way_out(
    folder: Path, described: Path, tmp_path: Path
) -> None:
    save(make("gpt2", n_inner=20_000, n_head=HEADS), tmp_path / "wide")
    done, out = convert(folder, graph(), described, "--model", tmp_path / "wide")
    assert done.exit_code == 2
    assert "its 3 heads and MLPs are 20,002 nodes" in done.output
    assert f"write 'sites: [attn.head]' in {described}, which leaves MLPs whole" in done.output
    assert not out.exists()


def test_a_specification_without_nodes_can_be_filled_in(folder: Path, described: Path) -> None:
    source = folder / "g.json"
    source.write_text(json.dumps(graph()))
    done = run("convert", source, "--behavior", described, "--out", described)
    assert done.exit_code == 0, done.output
    assert nodes_of(described)["0.attn.head"] == [5]

    again = run("convert", source, "--behavior", described, "--out", described)
    assert again.exit_code == 4
    assert "nothing is overwritten" in again.output


def test_a_graph_without_a_behavior_is_no_specification(folder: Path, described: Path) -> None:
    del described
    (folder / "g.json").write_text(json.dumps(graph()))
    done = run("convert", folder / "g.json", "--out", folder / "x.circuit.yaml")
    assert done.exit_code == 4
    assert "name it with --behavior SPEC" in done.output


@pytest.mark.parametrize("sites", ["[attn.head]", "[attn.head, mlp.neuron]"])
def test_what_is_exported_is_imported_as_the_same_nodes(
    folder: Path, described: Path, sites: str
) -> None:
    nodes = CIRCUIT | ({"0.mlp.neuron": list(range(NEURONS))} if "mlp" in sites else {})
    one = described.with_name("one.circuit.yaml")
    one.write_text(spec(nodes=nodes, sites=sites))
    described.write_text(spec(sites=sites))
    file = folder / "one.json"

    shown = run("show", one, "--eap-ig", file)

    assert shown.exit_code == 0, shown.output
    said = json.loads(file.read_text())
    assert said["cfg"] == CONFIG
    # Every edge that there is: heads read as queries, keys and values; MLPs read their own heads.
    writers = [1, 1 + HEADS + 1, 1 + 2 * (HEADS + 1)]
    readers = 3 * HEADS * (writers[0] + writers[1]) + (1 + HEADS) + (writers[1] + HEADS)
    assert len(said["edges"]) == readers + writers[2]
    whole = "in the graph, as 'sites' leave them whole: 2 nodes (mlp 0, mlp 1)"
    assert (whole in shown.output) == ("mlp" not in sites)
    assert said["nodes"]["m0"]["in_graph"]
    assert said["nodes"]["m1"]["in_graph"] == ("mlp" not in sites)
    done, out = convert(folder, file.read_text(), described)
    assert done.exit_code == 0, done.output
    assert nodes_of(out) == nodes


def test_what_has_no_counterpart_in_eap_ig_is_told(folder: Path, described: Path) -> None:
    one = described.with_name("one.circuit.yaml")
    one.write_text(spec(nodes=CIRCUIT | {"1.mlp.neuron": [3, 4]}, sites="[attn.head, mlp.neuron]"))
    done = run("show", one, "--eap-ig", folder / "two.json")
    assert done.exit_code == 0
    assert "not in the graph: 2 nodes at 1.mlp.neuron" in done.output

    one.write_text(spec(nodes={"1.mlp.neuron": [3, 4]}, sites="[mlp.neuron]"))
    done = run("show", one, "--eap-ig", folder / "three.json")
    assert done.exit_code == 4
    assert "holds no head and no MLP whole" in done.output
    assert not (folder / "three.json").exists()


def test_whether_an_mlp_reads_its_own_heads_is_seen_in_a_forward(
    folder: Path, tmp_path: Path
) -> None:
    assert not is_parallel(load_model(folder / "model"))
    assert is_parallel(load_model(save(make("gptj"), tmp_path / "gptj")))


def test_a_circuit_of_a_weight_sparse_model_keeps_the_residual_stream(tmp_path: Path) -> None:
    model = load_model(write_quote_copier(tmp_path / "model"))
    behavior = tmp_path / "b.circuit.yaml"
    behavior.write_text(quote_spec({}, model="model"))
    parts = parts_of(model)
    head = Part(1, 0)
    said = {
        "cfg": CONFIG | {"n_heads": parts.heads, "d_model": parts.width},
        "nodes": {},
        "edges": {key: {"in_graph": True} for key in ("input->a1.h0<q>", "a1.h0->logits")},
    }
    (tmp_path / "circuits").mkdir()

    done, out = convert(tmp_path, said, behavior)

    assert done.exit_code == 0, done.output
    found = nodes_of(out)
    assert {"1.attn.q", "1.attn.k", "1.attn.v", "0.mlp.resid_delta", "final_resid"} <= found.keys()
    assert found["1.attn.q"] == list(parts.nodes[head]["1.attn.q"])
    assert found["0.attn.act_in"] == list(range(parts.width))
    assert "0.mlp.post_act" not in found


ACDC_ROWS: list[list[Any]] = [
    ["blocks.0.hook_v_input", [None, None, 5], "hook_embed", [None]],
    ["blocks.0.attn.hook_v", [None, None, 5], "blocks.0.hook_v_input", [None, None, 5]],
    ["blocks.1.hook_k_input", [None, None, 11], "blocks.0.attn.hook_result", [None, None, 5]],
    ["blocks.1.attn.hook_k", [None, None, 11], "blocks.1.hook_k_input", [None, None, 11]],
    ["blocks.1.hook_resid_mid", [None], "blocks.1.attn.hook_result", [None, None, 11]],
    ["blocks.1.hook_resid_post", [None], "blocks.1.hook_mlp_out", [None]],
]
UNCOMPUTED = ["blocks.0.hook_q_input", [None, None, 9], "hook_embed", [None]]
UNREAD = ["blocks.1.hook_resid_post", [None], "blocks.0.attn.hook_result", [None, None, 9]]


@pytest.mark.parametrize("form", ["rows", "flags", "pairs", "effects"])
def test_edges_of_acdc_become_nodes(folder: Path, described: Path, form: str) -> None:
    rows, more = [*ACDC_ROWS, UNCOMPUTED, UNREAD], []
    if form == "flags":
        rows = [[*row, True] for row in rows]
        rows.append(["blocks.0.hook_mlp_in", [None], "hook_embed", [None], False])
    elif form == "pairs":
        rows = [[row, True] for row in rows]
    elif form == "effects":
        rows = [[*row, -0.4] for row in rows]
        rows.append(["blocks.1.hook_resid_post", [None], "blocks.0.hook_mlp_out", [None], 0.001])
        more = ["--threshold", "0.01"]

    done, out = convert(folder, rows, described, *more)

    assert done.exit_code == 0, done.output
    assert nodes_of(out) == CIRCUIT | {"1.mlp.neuron": MLP_1}
    # Head 9 is read, and its queries are never computed from what it is given.
    assert "1 node (head 0.9): no path of its edges leads through them" in done.output
    assert "8 edges: the nodes that they lead through stand for them" in done.output


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["blocks.0.hook_v_input", [None, None, 16], "hook_embed", [None]], "/0/0: names head 16"),
        (["blocks.7.hook_mlp_in", [None], "hook_embed", [None]], "/0/0: names layer 7"),
        (
            ["blocks.0.hook_resid_post", [None], "hook_embed", [None]],
            "/0/0: the circuit of another model: 1 layers, and this one has 2",
        ),
        (["blocks.0.hook_z", [None], "hook_embed", [None]], "/0/0: 'blocks.0.hook_z' is no place"),
        (["blocks.0.hook_v_input", [None], "hook_embed", [None]], "/0/1/0: expected a whole"),
        (["blocks.0.hook_mlp_in", [None], "hook_embed", [None], "yes"], "/0/4: expected a number"),
    ],
)
def test_edges_that_are_none_are_refused_at_their_place(
    folder: Path, described: Path, row: list[Any], said: str
) -> None:
    done, out = convert(folder, [row], described)
    assert done.exit_code == 2
    assert f"g.json: at {said}" in done.output
    assert not out.exists()


def node(name: str, kind: str) -> dict[str, Any]:
    return {"node_id": name, "feature_type": kind, "layer": name.partition("_")[0]}


FEATURE, ERROR = "cross layer transcoder", "mlp reconstruction error"
NODES = [
    node("E_7_1", "embedding"),
    node("0_3_1", FEATURE),
    node("3_9_2", "logit"),
]
LINKS = [
    {"source": "E_7_1", "target": "0_3_1", "weight": 0.5},
    {"source": "0_3_1", "target": "3_9_2", "weight": -0.5},
]


@pytest.mark.parametrize("error", ["0_1_2", "1_-1_2"], ids=["older", "newer"])
def test_both_forms_of_error_nodes_are_known(folder: Path, described: Path, error: str) -> None:
    said = {
        "metadata": {"slug": "x", "scan": "gemma-2-2b"},
        "qParams": {"pinnedIds": [error, "E_7_1"], "supernodes": []},
        "nodes": [*NODES, node(error, ERROR)],
        "links": LINKS,
    }
    done, out = convert(folder, said, described)
    assert done.exit_code == 0, done.output
    assert nodes_of(out) == {"1.mlp.neuron": MLP_1}
    assert load_spec(out).spec.sites == ("mlp.neuron",)
    assert f"1 error node ({error}): the model has no transcoder" in done.output
    assert "1 token (E_7_1): they are no nodes here" in done.output
    assert "attention: such a graph takes it as it is: all heads stay whole" in done.output
    assert "called 'gemma-2-2b'" in done.output


def test_groups_of_nodes_are_in_the_subgraph_too(folder: Path, described: Path) -> None:
    groups = [["say left", "1_7_1", "1_8_1"], ["nothing"]]
    done, out = convert(folder, {"supernodes": groups}, described)
    assert done.exit_code == 0, done.output
    assert [*nodes_of(out)] == ["1.mlp.neuron"]
    assert "2 features (1_7_1, 1_8_1)" in done.output


def test_names_that_strangers_give_steer_no_terminal(folder: Path, described: Path) -> None:
    odd = "\x1b[2J" + "x" * 10**5
    nodes = [*NODES, node(odd, "lorsa")]
    said = {"nodes": nodes, "links": [], "metadata": {"scan": odd}}
    done, out = convert(folder, said, described)
    assert done.exit_code == 0, done.output
    assert r"1 other node (\x1b[2Jxxx" in done.output
    assert "\x1b" not in done.output
    assert len(done.output) < 2000
    assert len(out.read_text()) < 5000


def test_links_over_a_threshold_or_all_nodes_are_the_subgraph(
    folder: Path, described: Path
) -> None:
    said = {"nodes": [*NODES, node("1_4_2", FEATURE)], "links": LINKS, "qParams": {}}
    done, out = convert(folder, said, described)
    assert done.exit_code == 0, done.output
    assert [*nodes_of(out)] == ["0.mlp.neuron", "1.mlp.neuron"]
    assert "2 features (0_3_1, 1_4_2): the model has no transcoder" in done.output

    said["links"] = [*LINKS, {"source": "1_4_2", "target": "3_9_2", "weight": 0.3}]
    done, out = convert(folder, said, described, "--threshold", "0.2")
    assert done.exit_code == 0, done.output
    assert [*nodes_of(out)] == ["0.mlp.neuron"]
    assert "1 node (1_4_2): no path of its edges leads through them" in done.output


def test_ids_that_were_saved_alone_are_read_where_they_are_clear(
    folder: Path, described: Path
) -> None:
    done, out = convert(folder, {"pinnedIds": ["1_4494_4", "1_-1_2", "E_7_1", "3_9_2"]}, described)
    assert done.exit_code == 0, done.output
    assert [*nodes_of(out)] == ["1.mlp.neuron"]

    done, _ = convert(folder, {"pinnedIds": ["1_4494_4", "0_1_2"]}, described)
    assert done.exit_code == 2
    assert "at /pinnedIds/1: '0_1_2' may be a feature of layer 0 or the error node" in done.output


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"nodes": [node("5_9_2", "logit")]}, "/nodes/0/node_id: the circuit of another model: 4"),
        ({"nodes": [node("9_9_2", FEATURE)]}, "/nodes/0/node_id: names layer 9"),
        ({"nodes": [node("x", FEATURE)]}, "/nodes/0/node_id: 'x' is no id of a node"),
        ({"nodes": [node("4_4_2", ERROR)]}, "/nodes/0/node_id: '4_4_2' is no error node"),
        ({"nodes": [{"node_id": "0_1_1"}]}, "/nodes/0: 'feature_type' is missing"),
        ({"nodes": NODES[:1]}, "its top: no feature and no error node is in the subgraph"),
        (
            {"nodes": NODES, "qParams": {"pinnedIds": ["1_1_1"]}},
            "/qParams/pinnedIds/0: '1_1_1' is none of the nodes",
        ),
        (
            {"nodes": [*NODES, node("0_3_1", ERROR)], "qParams": {"pinnedIds": ["0_3_1"]}},
            "/nodes/3/node_id: names layer 3",
        ),
        (
            {
                "nodes": [node("0_1_1", FEATURE), node("0_1_1", ERROR)],
                "qParams": {"pinnedIds": ["0_1_1"]},
            },
            "/qParams/pinnedIds/0: '0_1_1' may be a feature of layer 0 or the error node",
        ),
    ],
)
def test_a_graph_of_features_that_does_not_fit_is_refused_at_its_place(
    folder: Path, described: Path, said: dict[str, Any], problem: str
) -> None:
    done, out = convert(folder, {"links": []} | said, described)
    assert done.exit_code == 2, done.output
    assert f"g.json: at {problem}" in done.output
    assert not out.exists()


def changed(place: str, value: object) -> dict[str, Any]:
    said: Any = graph()
    *path, last = place.split("/")
    inner = said
    for key in path:
        inner = inner[key]
    inner[last] = value
    return dict(said)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (graph(n_layers=12), "at /cfg/n_layers: the circuit of another model: 12 layers, and this"),
        (graph(n_heads=12), "at /cfg/n_heads: the circuit of another model: 12 heads a layer"),
        (graph(d_model=768), "at /cfg/d_model: the circuit of another model: 768 channels"),
        (graph(n_layers="2"), "at /cfg/n_layers: expected a whole number, got '2'"),
        (graph(["input->a2.h0<q>"]), "at /edges/input->a2.h0<q>: names layer 2; the model has 2"),
        (graph(["input->a0.h16<q>"]), "at /edges/input->a0.h16<q>: names head 16"),
        (graph(["a1.h0->m0"]), "'a1.h0->m0' leads backwards"),
        (graph(["a0.h0->a0.h1<q>"]), "'a0.h0->a0.h1<q>' leads backwards"),
        (graph(["input->a0.h0"]), "edges to heads, and only they, end in <q>, <k> or <v>"),
        (graph(["input=>m0"]), "'input=>m0' is no edge"),
        (graph(nodes=["A0.0"]), "at /nodes/A0.0: 'A0.0' is no node"),
        (changed("edges/m1->logits/in_graph", 1), "/edges/m1->logits/in_graph: expected true or"),
        (changed("edges/m1->logits", 1), "at /edges/m1->logits: expected an object, got 1"),
        (changed("nodes/a0.h5", {}), "at /nodes/a0.h5: 'in_graph' is missing"),
        (changed("nodes", []), "at /nodes: expected an object, got a list"),
        ({"circuit": 1}, "is no circuit that is known"),
        ([1, 2], "is no circuit that is known"),
        ("[" * 10**6, "not JSON"),
        ('{"cfg": 1', "not JSON"),
        ('{"cfg": 1, "cfg": 2}', "the key 'cfg' stands twice"),
        (f'{{"{"k" * 10**6}": 1, "{"k" * 10**6}": 2}}', "kkk' stands twice"),
        ("9" * 10**5, "not JSON"),
        ("\x00", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_and_nothing_is_written(
    folder: Path, described: Path, said: object, problem: str
) -> None:
    done, out = convert(folder, said, described)
    assert done.exit_code == 2, done.output
    assert problem in done.output
    assert len(done.output) < 1000
    assert not out.exists()


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999", "true", '"high"'])
def test_a_threshold_needs_scores_that_are_numbers(
    folder: Path, described: Path, score: str
) -> None:
    text = json.dumps(changed("edges/m1->logits/score", "HERE")).replace('"HERE"', score)
    done, _ = convert(folder, text, described, "--threshold", "0.1")
    assert done.exit_code == 2
    assert "at /edges/m1->logits/score: expected a" in done.output
    done, _ = convert(folder, text, described)  # where they decide nothing, they are not read
    assert done.exit_code == 0, done.output


def test_a_hundred_thousand_nodes_are_met_in_words(folder: Path, described: Path) -> None:
    said = graph()
    said["nodes"] = {f"a0.h{i}": {"in_graph": True} for i in range(10**5)}
    source = folder / "g.json"
    done, out = convert(folder, said, described)
    assert done.exit_code == 2
    assert "at /nodes/a0.h16: names head 16; the model has 16 a layer" in done.output
    assert not out.exists()
    source.unlink()


@pytest.mark.parametrize("name", ["edges.pth", "scores.pkl", "g.pickle"])
def test_a_pickle_is_refused_with_the_way_out(folder: Path, described: Path, name: str) -> None:
    done, out = convert(folder, "x", described, "--model", folder / "model", name=name)
    assert done.exit_code == 2
    assert "is a pickle, which is not opened" in done.output
    assert "Graph.from_pt(FILE).to_json(OUT)" in done.output
    assert not out.exists()


def test_a_threshold_is_for_json_alone(tmp_path: Path) -> None:
    done = run("convert", tmp_path, "--out", tmp_path / "x", "--threshold", "0.1")
    assert done.exit_code == 4
    assert "--threshold is for a circuit in JSON" in done.output
