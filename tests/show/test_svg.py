"""The drawing of a circuit: `pytest-circuits show SPEC --svg FILE`, and on the page of a run."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.cli import main
from pytest_circuits.report.html import html
from pytest_circuits.show import svg
from pytest_circuits.show.dot import dot
from pytest_circuits.show.drawing import Drawing, Row
from pytest_circuits.show.heat import Attends, Carried, Heat
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier
from tests.plugin.test_summary import CIRCUIT, GOOD

SVG = "{http://www.w3.org/2000/svg}"
SMALL = Drawing(
    nodes=("0.attn.v[3]", "0.attn.v[4]", "0.attn.resid_delta[7]", "final_resid[7]"),
    edges=(("0.attn.v[3]", "0.attn.resid_delta[7]"), ("0.attn.v[4]", "0.attn.resid_delta[7]")),
    stream=(("0.attn.resid_delta[7]", "final_resid[7]"),),
    weights=(1.5, -0.25),
)


def large(count: int = 500) -> Drawing:
    """A circuit of so many nodes at five sites, each joined to the one at the next site."""
    names = [f"{n * 5 // count}.mlp.post_act[{n}]" for n in range(count)]
    return Drawing(tuple(names), tuple(zip(names, names[count // 5 :], strict=False)))


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (we have made it)


def overlaps(drawn: ET.Element) -> list[tuple[float, ...]]:
    """Boxes that cover each other, or stand out of the picture."""
    boxes = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in drawn.iter(f"{SVG}rect")
    ]
    width, height = (float(drawn.attrib[name]) for name in ("width", "height"))
    out = [(x, y, w, h) for x, y, w, h in boxes if min(x, y, width - x - w, height - y - h) < 0]
    return out + [one for one, other in combinations(boxes, 2) if _meet(one, other)]


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(
        abs(2 * (one[i] - other[i]) + one[i + 2] - other[i + 2]) < one[i + 2] + other[i + 2]
        for i in range(2)
    )


def show(folder: Path, *options: str) -> Result:
    path = folder / "quote_close.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH))
    return CliRunner().invoke(main, ["show", str(path), *options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svg")
    write_quote_copier(folder / "model")
    return folder


def test_a_circuit_is_drawn_to_a_file(folder: Path) -> None:
    result = show(folder, f"--svg={folder / 'out.svg'}")

    assert (result.exit_code, result.output) == (0, f"written: {folder / 'out.svg'}\n")
    drawn = parsed((folder / "out.svg").read_text(encoding="utf-8"))
    count = sum(map(len, QUOTE_PATH.values()))
    assert drawn.attrib["aria-label"].startswith(f"quote_close: {count} nodes at ")
    boxes = [each for each in drawn.iter(f"{SVG}g") if each.attrib.get("class") == "node"]
    assert len(boxes) == count
    names = [each.text for each in drawn.iter(f"{SVG}text") if each.attrib.get("class") == "name"]
    assert {*QUOTE_PATH} <= set(names)
    titles = {title.text for title in drawn.iter(f"{SVG}title")}
    assert "0.attn.act_in[0] → 0.attn.k[0]: +2" in titles
    assert not overlaps(drawn)
    assert show(folder, f"--svg={folder / 'out.svg'}").exit_code == 0  # it takes its own place


def test_what_each_node_carries_at_each_token_stands_below(folder: Path) -> None:
    show(folder, f"--svg={folder / 'heat.svg'}")
    drawn = parsed((folder / "heat.svg").read_text(encoding="utf-8"))

    cells = [c for c in drawn.iter(f"{SVG}rect") if c.attrib.get("class") in {"hot", "cold"}]
    told = [(str(each[0].text).split(": "), each.attrib["class"]) for each in cells]
    texts = [str(each.text) for each in drawn.iter(f"{SVG}text")]
    # The value that the head copies is there at the quote alone, and tells the two apart.
    seen = {at: (value, sign) for (at, value), sign in told if at.startswith("0.attn.v[0] at ")}
    assert seen == {
        "0.attn.v[0] at ' \"'": ("+2.96", "hot"),
        '0.attn.v[0] at " \'"': ("-2.94", "cold"),
    }
    assert "0.attn.v[0]" in texts
    assert not overlaps(drawn)


def test_a_heat_map_has_a_scale_for_each_row_and_any_text_stays_text() -> None:
    rows = (
        Carried("<a>[1]", ((2.0, -1.0), (0.0, float("nan")))),
        Carried("b[2]", ((0.0, 0.0), (0.0, 0.0))),
    )
    heat = Heat((("<x>", "\x1b"), ("\u202e", "&")), rows)
    drawn = parsed(svg.file_of(SMALL, title="x", heat=heat))

    cells = [c for c in drawn.iter(f"{SVG}rect") if c.attrib.get("class") in {"hot", "cold"}]
    assert [(c.attrib["class"], c.attrib["fill-opacity"]) for c in cells] == [
        ("hot", "1.00"),
        ("cold", "0.50"),
    ]
    assert cells[0][0].text == "<a>[1] at '<x>': +2"
    assert not overlaps(drawn)


def test_what_a_head_looks_at_hangs_as_arcs_from_the_last_token(folder: Path) -> None:
    show(folder, f"--svg={folder / 'arcs.svg'}")
    drawn = parsed((folder / "arcs.svg").read_text(encoding="utf-8"))

    arcs = [each for each in drawn.iter(f"{SVG}path") if each.attrib.get("class") == "arc"]
    told = [str(each[0].text) for each in arcs]
    assert all(text.startswith("head 0.0 looks from 'alpha' at ") for text in told)
    quotes = [text for text in told if text.endswith((": 100%", ": 99%", ": 98%", ": 97%"))]
    assert [text.partition(" at ")[2].rpartition(":")[0] for text in quotes] == [
        "' \"'",
        '" \'"',
    ]


def test_on_a_page_cells_of_one_shade_are_one_element_in_the_same_places() -> None:
    rows = tuple(Carried(f"n[{i}]", ((1.0, -0.5, 0.5), (0.0, 0.1, 1.0))) for i in range(9))
    heads = (Attends("head 0.1", ((0.1, 0.7, 0.2), (0.0, 0.02, 0.9))),)
    heat = Heat((("a", "b", "c"), ("d", "e", "f")), rows, heads)
    told, shared = (
        parsed(svg.svg(SMALL, title="x", heat=heat, listed=listed)) for listed in (True, False)
    )

    each = {
        (c.attrib["class"], float(c.attrib["x"]), float(c.attrib["y"]) + 8.5)
        for c in told.iter(f"{SVG}rect")
        if c.attrib.get("class") in {"hot", "cold"}
    }
    paths = [p for p in shared.iter(f"{SVG}path") if p.attrib["class"].endswith(" cells")]
    found = {
        (p.attrib["class"].removesuffix(" cells"), float(x), float(y))
        for p in paths
        for x, y in re.findall(r"M([\d.]+) ([\d.]+)h16", p.attrib["d"])
    }
    assert len(each) == 9 * 5
    assert found == each
    assert {p.attrib["stroke-opacity"] for p in paths} == {"0.2", "0.6", "1"}
    arcs = [p for p in shared.iter(f"{SVG}path") if p.attrib["class"] == "arc"]
    assert sum(p.attrib["d"].count("M") for p in arcs) == 4  # what is next to nothing is not drawn


def test_nothing_else_is_replaced(folder: Path) -> None:
    other = folder / "other.txt"
    other.write_text("mine")

    result = show(folder, f"--svg={other}")

    assert result.exit_code == 4
    assert "other.txt: is there already, and was not made by this command" in result.stderr
    assert other.read_text() == "mine"


def test_the_first_layer_is_at_the_bottom_and_signs_are_seen() -> None:
    drawn = parsed(svg.svg(SMALL, title="x"))
    heights = {t.text: float(t.attrib["y"]) for t in drawn.iter(f"{SVG}text")}
    assert heights["0.attn.v"] > heights["0.attn.resid_delta"] > heights["final_resid"]
    lines = [(p.attrib["class"], p.attrib.get("stroke-width")) for p in drawn.iter(f"{SVG}path")]
    assert lines == [("plus", "4.7"), ("minus", "1.8"), ("stream", None)]


def test_without_weights_lines_have_no_sign() -> None:
    drawn = parsed(svg.svg(replace(SMALL, weights=()), title="x"))
    assert {p.attrib["class"] for p in drawn.iter(f"{SVG}path")} == {"wire", "stream"}


@pytest.mark.parametrize("count", [5, 20, 60, 150, 151, 500, 2000])
def test_a_drawing_of_any_size_is_legible(count: int) -> None:
    drawing = large(count)
    text = svg.file_of(drawing, title="x")
    drawn = parsed(text)
    boxes = list(drawn.iter(f"{SVG}rect"))

    assert len(boxes) == (count if count <= svg.MOST_BOXES else 5)
    assert not overlaps(drawn)
    assert float(drawn.attrib["width"]) <= 1200
    assert len(text) < 60_000
    shown = " ".join(str(each.text) for each in drawn.iter(f"{SVG}text"))
    assert {str(n) for n in range(count)} <= set(re.findall(r"\d+", shown))


def test_a_large_circuit_on_the_page_has_its_nodes_in_words() -> None:
    circuit = replace(CIRCUIT, drawing=large())
    page = html(replace(GOOD, circuits=(circuit,)))

    assert page.count("<rect") < 20
    assert "100 nodes" in page
    assert "<li>0.mlp.post_act: 0, 1, 2, " in page


@given(st.lists(st.text(), min_size=1, max_size=20, unique=True), st.text())
def test_any_names_are_shown_and_none_is_obeyed(names: list[str], title: str) -> None:
    pairs = tuple(pairwise(names))
    text = svg.file_of(Drawing(tuple(names), pairs), title=title)

    tags = {each.tag.removeprefix(SVG) for each in parsed(text).iter()}
    assert tags <= {"svg", "style", "path", "title", "text", "g", "rect"}


def test_a_drawing_holds_together() -> None:
    with pytest.raises(ValueError, match="an end that is none of its nodes"):
        Drawing(("a[1]",), (("a[1]", "b[2]"),))
    with pytest.raises(ValueError, match="a weight for each of its edges"):
        replace(SMALL, weights=(1.0,))
    assert Drawing(("a[1]",), (), rows=(Row("a", 0, "neuron"),)).rows[0].site == "a"


def test_a_circuit_is_drawn_for_graphviz(folder: Path) -> None:
    file = folder / "quote.dot"
    done = show(folder, "--dot", str(file))
    assert done.exit_code == 0, done.output
    text = file.read_text()
    assert text.startswith('digraph circuit {\n  label="quote_close: 7 nodes at 6 sites, ')
    drawn = set(re.findall(r'^    ("[^"]+") \[label=\1\];$', text, re.MULTILINE))
    assert drawn == {f'"{site}[{n}]"' for site, some in QUOTE_PATH.items() for n in some}
    joined = re.findall(r'^  "(.+)" -> "(.+)" \[tooltip="-?[0-9.e+-]+", style=', text, re.MULTILINE)
    assert len(joined) == int(re.findall(r", (\d+) edges", text)[0])
    assert all(f'"{end}"' in drawn for pair in joined for end in pair)

    (folder / "mine.dot").write_text("graph mine {}")
    done = show(folder, "--dot", str(folder / "mine.dot"))
    assert "was not made by this command" in done.output


def test_large_circuits_are_drawn_by_site_for_graphviz_and_names_are_escaped() -> None:
    text = dot(large(), title='a "b" \\ \x1b')
    assert text.splitlines()[1] == r'  label="a \"b\" \\ \\x1b";'
    assert '  "0.mlp.post_act" [label="0.mlp.post_act: 100 nodes"];' in text
    assert '  "0.mlp.post_act" -> "1.mlp.post_act" [label="100", style=solid];' in text
    assert "[3]" not in text
    small = dot(SMALL, title="x")
    assert '"0.attn.v[4]" -> "0.attn.resid_delta[7]" [tooltip="-0.25", style=dashed];' in small
    assert '"0.attn.resid_delta[7]" -> "final_resid[7]" [style=dotted];' in small
