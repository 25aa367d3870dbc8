from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_circuits.claims.registry import require_nodes
from pytest_circuits.errors import SpecError
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.slots import ChoiceSlot, WordsSlot

FirstLines = Callable[[str], list[str]]
Load = Callable[[str], LoadedSpec]


def test_the_example_loads_into_types(load: Load, quote: str) -> None:
    spec = load(quote).spec

    assert (spec.circuit, spec.ablations) == ("quote_close", (Ablation.MEAN,))
    assert spec.nodes == {"0.mlp.post_act": (31, 406), "1.attn.k": (30,)}
    assert spec.edges is None
    assert spec.claims.sufficient is not None
    assert spec.claims.sufficient.max_loss == 0.15
    assert isinstance(spec.behavior.slots["name"], ChoiceSlot)
    assert isinstance(spec.behavior.slots["words"], WordsSlot)


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        pytest.param(
            "  sufficient: {",
            "  sufficent:  {",
            "21:3: unknown key 'sufficent' in claims; did you mean 'sufficient'?",
            id="misspelt key",
        ),
        pytest.param(
            "ablation: mean",
            "ablatoin: mean",
            "15:1: unknown key 'ablatoin'; did you mean 'ablation'?",
            id="misspelt key that is required",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: 0.99, max_loss: 0.1}",
            "20:28: unknown key 'max_loss' in claim 'behaves'; it belongs to claim 'sufficient'",
            id="key of another claim",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: 0.99, colour: red}",
            "20:28: unknown key 'colour' in claim 'behaves'; known keys: rate",
            id="unknown key",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: 0.99, rate: 0.1}",
            "20:28: duplicate key 'rate': first given on line 20; keep one",
            id="duplicate rate",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: .nan}",
            "20:22: 'rate' of claim 'behaves' must be a number above 0 and below 1, "
            "not the text '.nan'",
            id="nan as a threshold",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: 1e999}",
            "20:22: 'rate' of claim 'behaves' must be a number above 0 and below 1, not infinity",
            id="infinite threshold",
        ),
        pytest.param(
            "{rate: 0.99}",
            "{rate: true}",
            "20:22: 'rate' of claim 'behaves' must be a number above 0 and below 1, not true",
            id="true as a threshold",
        ),
        pytest.param(
            "{rate: 0.99}",
            "",
            "20:3: claim 'behaves' has no value; it must be a mapping with the key rate",
            id="claim without thresholds",
        ),
        pytest.param(
            "max_loss: 0.15",
            "max_loss: 0.7",
            "21:38: 'max_loss' of claim 'sufficient' must be a number above 0 and below 0.6931, "
            "not 0.7",
            id="loss of chance",
        ),
        pytest.param(
            "rate: 0.98, ",
            "",
            "21:3: 'rate' is missing in claim 'sufficient'; "
            "it must be a number above 0 and below 1",
            id="missing threshold",
        ),
        pytest.param(
            "ablation: mean\n",
            "",
            "2:1: 'ablation' is missing; it must be one of mean, contrast, zero, resample or a "
            "list of such",
            id="missing ablation",
        ),
        pytest.param(
            "ablation: mean",
            "ablation: maen",
            "15:11: 'ablation' must be one of mean, contrast, zero, resample or a list of such, "
            "not 'maen'; did you mean 'mean'?",
            id="misspelt value",
        ),
        pytest.param(
            "ablation: mean",
            "ablation: [mean, contrasts]",
            "15:18: item 2 of ablation must be one of mean, contrast, zero, resample, "
            "not 'contrasts'; did you mean 'contrast'?",
            id="one of two ablations is unknown",
        ),
        pytest.param(
            "ablation: mean",
            "ablation: [mean, mean]",
            "15:18: ablation 'mean' is listed twice; keep one",
            id="an ablation is listed twice",
        ),
        pytest.param(
            "version: 1",
            "version: 2",
            "2:10: 'version' must be 1, not 2; this release reads version 1",
            id="other version",
        ),
        pytest.param(
            "circuit: quote_close",
            "circuit: ../x",
            "3:10: '../x' is not a name: a name begins with a letter or digit, goes on with "
            "letters, digits, '.', '_' or '-', at most 100 in all",
            id="name that is a path",
        ),
        pytest.param(
            "circuit: quote_close",
            "circuit: 5",
            "3:10: 'circuit' must be a name, not the number 5; write it in quotes: '5'",
            id="number for a name",
        ),
        pytest.param(
            "{choice: [alpha, beta, user_id]}",
            "{chioce: [alpha]}",
            "9:5: slot 'name' must be one of choice, words, integer, not 'chioce'; "
            "did you mean 'choice'?",
            id="misspelt kind of slot",
        ),
        pytest.param(
            "{choice: [alpha, beta, user_id]}",
            "alpha",
            "9:12: slot 'name' must be one of choice, words, integer, not the text 'alpha'",
            id="text for a slot",
        ),
        pytest.param(
            "{choice: [alpha, beta, user_id]}",
            "{choice: [alpha], integer: [1, 2]}",
            "9:30: slot 'name' is choice and integer at once; keep one of them",
            id="slot of two kinds",
        ),
        pytest.param(
            "[alpha, beta, user_id]",
            "[alpha, 5]",
            "9:29: item 2 of 'choice' of slot 'name' must be a text, not the number 5; "
            "write it in quotes: '5'",
            id="number among texts",
        ),
        pytest.param(
            "[alpha, beta, user_id]",
            "[]",
            "9:21: 'choice' of slot 'name' must be a list of 1 to 1,000 texts, not of 0",
            id="choice of nothing",
        ),
        pytest.param(
            "count: [1, 5]",
            "count: [1]",
            "10:56: 'count' of 'words' of slot 'words' must be a list of two whole numbers, "
            "[least, most], not of 1",
            id="one bound",
        ),
        pytest.param(
            "count: [1, 5]",
            "count: 5",
            "10:56: 'count' of 'words' of slot 'words' must be a list of two whole numbers, "
            "[least, most], not the number 5",
            id="number for bounds",
        ),
        pytest.param(
            "from: [alpha, beta, gamma]",
            "from_: [alpha, beta, gamma]",
            "10:21: unknown key 'from_' in 'words' of slot 'words'; did you mean 'from'?",
            id="the Python name of a key",
        ),
        pytest.param(
            "    quote:\n",
            "    other: {a: b, c: d}\n    quote:\n",
            "12:5: 'contrast' must be a mapping of exactly one key, not of 2",
            id="two cues",
        ),
        pytest.param(
            "      '\"': '\"'\n",
            "",
            "13:7: the contrast of cue 'quote' must be a mapping of 2 to 16 keys, not of 1",
            id="one cue text",
        ),
        pytest.param(
            "[31, 406]",
            "[31, -4]",
            "17:24: node 2 of hook point '0.mlp.post_act' must be a whole number of at least 0, "
            "not -4",
            id="negative node",
        ),
        pytest.param(
            "[31, 406]",
            "31",
            "17:19: hook point '0.mlp.post_act' must be a list of whole numbers, not the number 31",
            id="number for nodes",
        ),
        pytest.param(
            '  - "x = \'a"',
            "  - 7",
            "25:5: regression 1 must be a text of 1 to 4,096 characters, not the number 7; "
            "write it in quotes: '7'",
            id="number for a prompt",
        ),
        pytest.param(
            "ablation: mean",
            "ablation: mean\nfound_by: {seed: [1]}",
            "16:18: 'seed' of found_by must be a text or a number or true or false or a mapping, "
            "not a list",
            id="list for a figure",
        ),
        pytest.param(
            "ablation: mean",
            "ablation: mean\nprotocol: {margin: -1, pairs: 5}",
            "16:20: 'margin' of protocol must be a number above 0 and at most 100, not -1",
            id="negative margin",
        ),
    ],
)
def test_each_mistake_is_said_in_plain_words_at_its_place(
    first_lines: FirstLines, quote: str, good: str, bad: str, line: str
) -> None:
    assert quote.count(good) >= 1

    assert first_lines(quote.replace(good, bad, 1))[0] == f"q.circuit.yaml:{line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "1:1: the file is empty, not a specification; begin it with 'version: 1'"),
        ("# only\n", "1:1: the file is empty, not a specification; begin it with 'version: 1'"),
        (
            "hello",
            "1:1: the file is the text 'hello', not a specification; begin it with 'version: 1'",
        ),
        ("- 1", "1:1: the file is a list, not a specification; begin it with 'version: 1'"),
        ("[" * 100_000, "1:33: nested deeper than 32 levels"),
        ("\u202e: 1\x1b", "1:5: the character '\\x1b' cannot stand in YAML"),
    ],
)
def test_a_file_that_is_no_specification_says_so_once(
    first_lines: FirstLines, text: str, line: str
) -> None:
    assert first_lines(text) == [f"q.circuit.yaml:{line}"]


def test_all_problems_of_a_file_are_told_at_once_in_file_order(
    first_lines: FirstLines, quote: str
) -> None:
    bad = (
        quote.replace("version: 1", "version: 3")
        .replace("../models", "/models")
        .replace("count: [1, 5]", "count: [5, 1]")
        .replace("ablation: mean", "ablation: &a zeros")
        .replace("sufficient:", "sufficient: !x")
        .replace("[31, 406]", "[31, 31]")
        .replace("max_drop: 0.02", "max_drop: 0.02, max_drop: 0.5")
    )

    assert first_lines(bad) == [
        "q.circuit.yaml:2:10: 'version' must be 1, not 3; this release reads version 1",
        (
            "q.circuit.yaml:5:8: the model path is absolute; "
            "write it relative to this file, as in '../models/name'"
        ),
        "q.circuit.yaml:10:56: the bounds are reversed: 5 is more than 1; write [1, 5]",
        "q.circuit.yaml:15:11: anchors ('&a') are not read; remove it",
        (
            "q.circuit.yaml:15:11: 'ablation' must be one of mean, contrast, zero, resample or a "
            "list of such, not 'zeros'; "
            "did you mean 'zero'?"
        ),
        "q.circuit.yaml:17:24: node 31 is listed twice; keep one",
        "q.circuit.yaml:21:15: tags ('!x') are not read; remove it",
        "q.circuit.yaml:23:32: duplicate key 'max_drop': first given on line 23; keep one",
    ]


def test_a_file_of_nothing_but_mistakes_gives_a_message_that_ends(load: Load, quote: str) -> None:
    many = quote + "".join(f"k{index}: 1\n" for index in range(150))

    with pytest.raises(SpecError) as caught:
        load(many)

    assert len(str(caught.value).splitlines()) == 61
    assert str(caught.value).splitlines()[-1] == "... and 130 more problems"


def test_control_and_bidi_characters_of_a_file_never_reach_the_message(
    load: Load, quote: str
) -> None:
    bad = quote.replace("circuit: quote_close", 'circuit: "\\e[31m\u202e\\0"  # \u202e')

    with pytest.raises(SpecError) as caught:
        load(bad)

    assert not {"\x1b", "\u202e", "\0"} & set(str(caught.value))
    assert (
        str(caught.value)
        .splitlines()[0]
        .startswith(r"q.circuit.yaml:3:10: '\x1b[31m\u202e\x00' is not a name")
    )


def test_the_model_is_found_relative_to_the_file(tmp_path: Path, quote: str) -> None:
    path = tmp_path / "circuits" / "q.circuit.yaml"
    path.parent.mkdir()
    path.write_text(quote, encoding="utf-8")

    assert load_spec(path).model_path == (tmp_path / "models" / "tinypython").resolve()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/models/x", "the model path is absolute"),
        ("~/models", "the model path begins with '~', which is not expanded"),
        ("https://example.org/m", "the model path is a URL or names a drive"),
        ("hf:org/name", "the model path is a URL or names a drive"),
        ("C:/models", "the model path is a URL or names a drive"),
        ("a\\\\b", "the model path holds a backslash"),
        ("a\\0b", "the model path holds a character that no path should hold"),
        ("a\\u202eb", "the model path holds a character that no path should hold"),
    ],
)
def test_a_model_path_that_leaves_the_folder_in_disguise_is_refused(
    first_lines: FirstLines, quote: str, model: str, said: str
) -> None:
    bad = quote.replace("../models/tinypython", f'"{model}"')

    assert first_lines(bad) == [
        f"q.circuit.yaml:5:8: {said}; write it relative to this file, as in '../models/name'"
    ]


def test_a_later_check_can_point_at_a_line(load: Load, quote: str) -> None:
    loaded = load(quote)

    problem = loaded.problem_at(("nodes", "0.mlp.post_act", 1), "no node 406", "it has 64 nodes")

    assert str(problem) == (
        "q.circuit.yaml:17:24: no node 406; it has 64 nodes\n"
        "      0.mlp.post_act: [31, 406]\n"
        "                           ^^^"
    )
    assert str(loaded.problem_at(("nodes", "1.attn.k"), "bad", key=True)).splitlines()[0] == (
        "q.circuit.yaml:18:3: bad"
    )
    assert loaded.problem_at(("found_by", "seed"), "bad").line == 2


def test_a_circuit_without_nodes_loads_but_cannot_be_tested(load: Load, quote: str) -> None:
    loaded = load(quote.replace("nodes:\n  0.mlp.post_act: [31, 406]\n  1.attn.k: [30]\n", ""))

    with pytest.raises(SpecError) as caught:
        require_nodes(loaded)

    assert str(caught.value).splitlines()[0] == (
        "q.circuit.yaml:3:1: circuit 'quote_close' has no nodes yet; "
        "find them with: pytest-circuits prune q.circuit.yaml"
    )
    require_nodes(load(quote))


def test_a_behavior_of_the_whole_model_needs_no_circuit(load: Load, quote: str) -> None:
    without = quote.replace("nodes:\n  0.mlp.post_act: [31, 406]\n  1.attn.k: [30]\n", "")
    start, _, rest = without.partition("claims:\n")
    claims = [line for line in rest.splitlines() if line.startswith("  behaves")]
    require_nodes(load(f"{start}claims:\n{claims[0]}\n"))
