"""Laws of the loader: only SpecError, a dump loads as the same, looks never change the digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, load_spec, parse_spec, spec_digest, spec_seed
from pytest_circuits.spec.problems import Problem
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import dump_spec
from pytest_circuits.spec.yaml_text import scalar_text

Load = Callable[[str], LoadedSpec]

JARGON = re.compile(r"pydantic|Input should|[Ee]xtra inputs|Field required|str_|_type|tuple|dict\b")
FIRST_LINE = re.compile(r"q\.circuit\.yaml:[0-9]+:[0-9]+: .")
# Of the example, by the version of this package in which a specification could not list edges.
DIGEST = "a4e2e97e6d05b2c4d3fdbb906a73345d3ccaca081c7b497f5dec082bb2270594"
SLOW = settings(deadline=None, max_examples=100)


def escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


texts = st.text(max_size=12)
words = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True)
bounds = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
shares = st.floats(0.01, 0.99)
slots = (
    st.builds(
        lambda choice: {"choice": choice},
        st.lists(texts, min_size=1, max_size=4, unique=True),
    )
    | st.builds(lambda bounds: {"integer": bounds}, bounds)
    | st.builds(
        lambda words, count, separator: {
            "words": {"from": words, "count": count, "separator": separator}
        },
        words,
        bounds,
        texts,
    )
)
NUMBERS = {"scale": st.floats(0, 10, exclude_min=True), "shift": st.floats(-20, 20)}
figures = texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@st.composite
def edges_among(draw: st.DrawFn, nodes: dict[str, list[int]]) -> dict[str, list[tuple[int, int]]]:
    """Edges between nodes whose hook points can stand in a key."""
    hooks = [hook for hook in nodes if re.fullmatch(r"[!-~]+", hook)]
    ends = st.lists(st.tuples(*[st.sampled_from(hooks)] * 2), max_size=3, unique=True)
    return {
        f"{source} -> {target}": draw(
            st.lists(
                st.tuples(st.sampled_from(nodes[source]), st.sampled_from(nodes[target])),
                min_size=1,
                max_size=30,
                unique=True,
            )
        )
        for source, target in (draw(ends) if hooks else ())
    }


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """What a valid file holds."""
    cue, *slot_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    holes = [f"{{{name}}}" for name in draw(st.permutations([cue, *slot_names]))]
    between = [escape(draw(texts)) for _ in holes]
    prompt = "".join(text + hole for text, hole in zip(between, holes, strict=True))
    ends = draw(st.lists(texts.map(escape), max_size=3, unique=True))
    listed = [prompt + end for end in ends]
    named = st.lists(names, min_size=len(ends), max_size=len(ends), unique=True)
    templates = st.just(listed) | named.map(lambda keys: dict(zip(keys, listed, strict=True)))
    calibration = draw(st.none() | st.fixed_dictionaries(NUMBERS))
    most = 2 if calibration else 4
    cue_texts = draw(st.lists(texts, min_size=2, max_size=most, unique=True))
    count = len(cue_texts)
    answers = draw(
        st.lists(st.text(min_size=1, max_size=4), min_size=count, max_size=count, unique=True)
    )
    claims: dict[str, Any] = {
        "behaves": {"rate": draw(shares)},
        "sufficient": {"rate": draw(shares), "max_loss": draw(st.floats(0.01, 0.69))},
        "necessary": {"max_rate": draw(st.floats(0.51, 0.99))},
        "stable": {"max_drop": draw(shares), "effects": {"min_correlation": draw(shares)}},
        "faithful": {"rate": draw(shares), "max_gap": draw(st.floats(0.01, 0.69))},
        "minimal": {"quantile": draw(shares)},
        "specific": {
            "others": draw(st.lists(names, min_size=1, max_size=3, unique=True)),
            "max_drop": draw(shares),
        },
        "depends_on": {"slots": [cue], "rate": draw(shares)},
    }
    kept = draw(st.lists(st.sampled_from(sorted(claims)), min_size=1, unique=True))
    nodes = draw(
        st.dictionaries(
            texts | names,
            st.lists(st.integers(0, 999), min_size=1, max_size=40, unique=True),
            max_size=3,
        )
    )
    edges = draw(st.none() | edges_among(nodes))
    return {
        "version": 1,
        "circuit": draw(names),
        "description": draw(texts),
        "model": "../models/x",
        "behavior": {
            "prompt": draw(templates) if ends else prompt,
            "slots": {name: draw(slots) for name in slot_names},
            "contrast": {cue: dict(zip(cue_texts, answers, strict=True))},
        },
        "ablation": draw(st.sampled_from(["mean", "zero", "resample"])),
        "nodes": nodes,
        **({} if edges is None else {"edges": edges}),
        **({} if calibration is None else {"calibration": calibration}),
        "claims": {name: claims[name] for name in kept},
        "protocol": {"margin": draw(st.floats(0.01, 9)), "pairs": draw(st.integers(100, 900))},
        "found_by": draw(st.dictionaries(texts, figures, max_size=3)),
    }


@st.composite
def yaml_text(draw: st.DrawFn, value: Any, indent: int = 0) -> str:  # noqa: ANN401
    """Some YAML that means a value: keys in any order, with comments, blank lines and spaces."""
    if not isinstance(value, (dict, list)):
        return " " * draw(st.integers(1, 3)) + scalar_text(value) + draw(comments) + "\n"
    if isinstance(value, list) or not value:
        return f" {draw(flow(value))}{draw(comments)}\n"
    step = indent + draw(st.integers(1, 4))
    lines = [draw(comments) + "\n"]
    for key in draw(st.permutations(sorted(value))):
        lines += [" " * indent + draw(comments) + "\n"] * draw(st.integers(0, 1))
        inner = draw(yaml_text(value[key], step))
        lines.append(" " * indent + scalar_text(key) + ":" + inner)
    return "".join(lines)


@st.composite
def flow(draw: st.DrawFn, value: Any) -> str:  # noqa: ANN401
    """Some YAML in brackets."""
    space = draw(st.sampled_from(["", " ", "  "]))
    if isinstance(value, dict):
        items = [f"{scalar_text(key)}: {draw(flow(value[key]))}" for key in value]
        return "{" + space + f",{space} ".join(items) + space + "}"
    if isinstance(value, list):
        return "[" + space + f",{space} ".join(draw(flow(item)) for item in value) + space + "]"
    return scalar_text(value)


comments = st.sampled_from(["", "", "  # note: [x", " #", "   # 'y"])


def spec_of(content: dict[str, Any]) -> Spec:
    return parse_spec(json_like(content), path=Path("q.circuit.yaml")).spec


def json_like(content: dict[str, Any]) -> str:
    """The simplest YAML of a value, which is the JSON of it."""
    return json.dumps(content)


@SLOW
@given(contents())
def test_a_dumped_specification_loads_as_the_same(content: dict[str, Any]) -> None:
    spec = spec_of(content)

    again = parse_spec(dump_spec(spec, header="x"), path=Path("q.circuit.yaml"))

    assert again.spec == spec
    assert again.digest == spec_digest(spec)


@SLOW
@given(st.data(), contents())
def test_comments_spaces_and_the_order_of_keys_never_change_the_digest(
    data: st.DataObject, content: dict[str, Any]
) -> None:
    text = data.draw(yaml_text(content)).lstrip("\n")

    loaded = parse_spec(text, path=Path("q.circuit.yaml"))

    assert loaded.spec == spec_of(content)
    assert loaded.digest == spec_digest(spec_of(content))


@SLOW
@given(contents(), names)
def test_what_does_not_decide_the_evidence_is_not_in_the_digest(
    content: dict[str, Any], other: str
) -> None:
    spec = spec_of(content)
    reworded = content | {
        "description": other,
        "model": other,
        "claims": {"behaves": {"rate": 0.5}},
        "found_by": {other: 1},
        "nodes": {hook: indexes[::-1] for hook, indexes in content["nodes"].items()},
    }
    if "edges" in content:
        reworded["edges"] = {key: pairs[::-1] for key, pairs in content["edges"].items()}

    assert spec_digest(spec_of(reworded)) == spec_digest(spec)


@SLOW
@given(contents(), names, st.sampled_from(["mean", "zero", "resample"]))
def test_neither_names_nor_limits_are_in_the_seed(
    content: dict[str, Any], other: str, ablation: str
) -> None:
    spec = spec_of(content)
    turned = content | {
        "circuit": other,
        "description": other,
        "model": other,
        "ablation": ablation,
        "claims": {"behaves": {"rate": 0.5}, "specific": {"others": [other], "max_drop": 0.1}},
        "protocol": {"margin": 0.1, "alpha": 0.001, "pairs": 101, "search": 11, "controls": 20},
        "nodes": {hook: indexes[::-1] for hook, indexes in content["nodes"].items()},
    }

    assert spec_seed(spec_of(turned)) == spec_seed(spec)


def test_a_calibration_is_not_in_the_seed(load: Load, quote: str) -> None:
    assert load(f"{quote}calibration: {{scale: 2, shift: 0.5}}\n").seed == load(quote).seed


def test_behavior_nodes_and_edges_are_in_the_seed(load: Load, quote: str) -> None:
    changes = {
        "{name} = {quote}": "{name}= {quote}",
        "count: [1, 5]": "count: [1, 6]",
        "'\"': '\"'": "'\"': '\\'",
        "[31, 406]": "[31, 407]",
        "ablation:": "edges: {}\nablation:",
        "regressions:": "edges: {1.attn.k -> 0.mlp.post_act: [[30, 31]]}\nregressions:",
    }

    seeds = {load(quote.replace(old, new, 1)).seed for old, new in changes.items()}

    assert len(seeds | {load(quote).seed}) == len(changes) + 1


def test_what_decides_the_evidence_is_in_the_digest(load: Load, quote: str) -> None:
    changes = {
        "quote_close": "quote_shut",
        "{name} = {quote}": "{name}= {quote}",
        "[alpha, beta, user_id]": "[beta, alpha, user_id]",
        "count: [1, 5]": "count: [1, 6]",
        "'\"': '\"'": "'\"': '\\'",
        "ablation: mean": "ablation: zero",
        "[31, 406]": "[31, 407]",
        "claims:": "protocol: {margin: 2.0}\nclaims:",
        "ablation:": "edges: {}\nablation:",
        "nodes:": "calibration: {scale: 1, shift: 0}\nnodes:",
        "  - \"x = 'a": '  - "x = \'a"\ncalibration: {scale: 2, shift: 0}  #',
        "description:": "calibration: {scale: 2, shift: 0.5}\ndescription:",
        "regressions:": "edges: {1.attn.k -> 0.mlp.post_act: [[30, 31]]}\nregressions:",
    }

    digests = {load(quote.replace(old, new, 1)).digest for old, new in changes.items()}

    assert len(digests | {load(quote).digest}) == len(changes) + 1


def test_a_specification_without_edges_or_calibration_has_the_digest_that_it_had_before_them(
    load: Load, quote: str
) -> None:
    assert load(quote.replace("claims:", "protocol: {margin: 1.0}\nclaims:")).digest == DIGEST


def refused(text: str) -> tuple[Problem, ...]:
    """The problems of a text, none when it loads; no other exception is expected."""
    try:
        parse_spec(text, path=Path("q.circuit.yaml"))
    except SpecError as error:
        return error.problems
    return ()


def check_places(problems: tuple[Problem, ...]) -> None:
    lines = [str(problem).splitlines()[0] for problem in problems]
    places = [(problem.line, problem.col) for problem in problems]
    assert all(FIRST_LINE.match(line) for line in lines)
    assert places == sorted(places)


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text(alphabet="[]{}:,-?&*!|>'\"%@#<~ \n\tab1."))
def test_any_text_is_refused_with_a_place(text: str) -> None:
    problems = refused(text)

    assert problems
    check_places(problems)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.circuit.yaml"
    path.write_bytes(data)

    with pytest.raises(SpecError, match=r"fuzz\.circuit\.yaml:[0-9]+:[0-9]+: "):
        load_spec(path)


leaves = st.none() | figures | st.sampled_from(["mean", ".nan", "choice", "{x}"])
keys = texts | st.sampled_from(["choice", "words", "integer", "rate", "from", "count", "claims"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A valid content in which one to three places are replaced, renamed or removed."""
    content: dict[str, Any] = json.loads(json.dumps(draw(contents())))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = content
        while True:
            inner = range(len(place)) if isinstance(place, list) else sorted(place)
            if not inner:
                break
            key = draw(st.sampled_from(list(inner)))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            how = draw(st.sampled_from(["replace", "remove", "rename"]))
            if how == "replace" or isinstance(place, list):
                place[key] = draw(trees)
            else:
                value = place.pop(key)
                if how == "rename":
                    place[draw(keys)] = value
            break
    return content


@settings(deadline=None, max_examples=300)
@given(damaged())
def test_a_damaged_specification_is_refused_in_plain_words(content: dict[str, Any]) -> None:
    problems = refused(json_like(content))

    check_places(problems)
    own_words = [re.sub(r"'.*'", "", problem.text) for problem in problems]
    assert not [text for text in own_words if JARGON.search(text)]
