"""What `pytest-circuits show` says of the parts of circuits that are known.

What is built in is said, and held where it was not learnt; what is not there is not said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.circuit.edges import edges_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.show import explain_lines
from pytest_circuits.show.explain import explain
from pytest_circuits.show.goes_with import goes_with
from pytest_circuits.show.kinds import Vocabulary
from pytest_circuits.show.looks_at import from_last, in_text
from pytest_circuits.show.observed import Half, Numbers, observe
from pytest_circuits.show.statement import (
    ABOVE,
    Example,
    Explanation,
    Part,
    Share,
    Statement,
    Topic,
)
from pytest_circuits.show.told_apart import pushes, tells_apart
from pytest_circuits.show.where_on import Places, where_on
from pytest_circuits.spec.load import load_spec
from tests.known_models import (
    QUOTE_PATH,
    KnownAnswer,
    bracket_counter,
    merged,
    quote_spec,
    two_hop_lookup,
    write_quote_copier,
)

NOISE = {"0.mlp.post_act": [20, 21, 22], "1.attn.v": [30, 31], "1.attn.q": [30, 31]}


def runner_of(path: Path) -> tuple[Runner, Nodes, PromptSpace]:
    loaded = load_spec(path)
    model = load_model(loaded.model_path)
    runner = Runner(model, load_reference(model), loaded.spec.ablations[0])
    return runner, Nodes.of(loaded.spec.nodes), PromptSpace(loaded.spec.behavior)


def explained(path: Path) -> Explanation:
    runner, nodes, space = runner_of(path)
    return explain(runner, nodes, edges_of(load_spec(path).spec), space)


def of_known(folder: Path, known: KnownAnswer) -> Explanation:
    known.write(folder / "model")
    path = folder / "known.circuit.yaml"
    path.write_text(known.spec_with(known.nodes))
    return explained(path)


def says(explanation: Explanation, name: str, topic: Topic) -> list[str]:
    (part,) = (part for part in explanation.parts if part.name == name)
    return [statement.says for statement in part.said if statement.topic is topic]


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    write_quote_copier(folder / "model")
    path = folder / "quote_close.circuit.yaml"
    path.write_text(quote_spec(merged(QUOTE_PATH, NOISE)))
    return path


@pytest.fixture(scope="module")
def of_copier(copier: Path) -> Explanation:
    return explained(copier)


@pytest.fixture(scope="module")
def halves(copier: Path) -> tuple[Half, Half]:
    return observe(*runner_of(copier))


def test_a_quote_copier_is_said_to_find_the_quote_and_to_copy_which_it_is(
    of_copier: Explanation,
) -> None:
    (detects,) = says(of_copier, "0.attn.act_in[0]", Topic.TEXT)
    assert sorted(detects.partition(" at ")[2].replace(" or ", ", ").split(", ")) == sorted(
        ["' \"'", "'\"'", '"\'"', '" \'"']
    )
    double, single = says(of_copier, "0.attn.act_in[1]", Topic.TEXT)
    assert double.startswith("above ")
    assert double.endswith("at ' \"' or '\"'")
    assert single.startswith("below ")
    assert single.endswith('at "\'" or " \'"')
    assert says(of_copier, "0.attn.v[0]", Topic.TEXT) == [
        "goes with 0.attn.act_in[1], 1 times as large"
    ]
    assert says(of_copier, "0.attn.k[0]", Topic.TEXT) == [
        "goes with 0.attn.act_in[0], 2 times as large"
    ]
    assert says(of_copier, "0.attn.q[0]", Topic.TEXT) == [
        "hardly varies: within 0.8 of 8, whatever the text"
    ]
    at_double, at_single, in_text_too = says(of_copier, "head 0.0", Topic.LOOKS)
    assert at_double == "from the last token, with '\"': looks mostly at ' \"'"
    assert at_single == 'from the last token, with "\'": looks mostly at " \'"'
    assert "more than 3 times an even share" in in_text_too
    (head,) = (part for part in of_copier.parts if part.name == "head 0.0")
    assert head.fact == (
        "0.attn.v[0] from where it looks into 0.attn.resid_delta[2], by the weights"
    )


def test_its_output_is_said_to_tell_the_cues_apart_and_to_push_each_answer(
    of_copier: Explanation,
) -> None:
    (cues,) = says(of_copier, "final_resid[2]", Topic.CUES)
    assert cues.startswith("at the last token: about 4.4")
    assert "with '\"', about -4.4" in cues
    first, second = says(of_copier, "final_resid[2]", Topic.PUSH)
    assert first.startswith("'\"' by ")
    assert first.endswith(" nats with '\"'")
    assert second.startswith('"\'" by ')
    assert second.endswith(' nats with "\'"')
    assert says(of_copier, "final_resid[2]", Topic.RAISES) == [
        "'\"' most of all tokens with '\"'",
        '"\'" most of all tokens with "\'"',
    ]


def test_what_does_nothing_is_said_to_push_next_to_nothing(of_copier: Explanation) -> None:
    for name in ("0.attn.q[0]", "0.mlp.post_act[20]", "1.attn.v[30]"):
        assert all(
            text.startswith("next to nothing with ") for text in says(of_copier, name, Topic.PUSH)
        )
        assert len(says(of_copier, name, Topic.PUSH)) == 2


@pytest.mark.parametrize("seed", [0, 3])
def test_a_bracket_counter_is_said_to_average_and_to_fire_above_a_threshold(
    tmp_path: Path, seed: int
) -> None:
    known = bracket_counter(seed)
    found = of_known(tmp_path, known)

    def node(site: str) -> str:
        (name,) = (f"{at}[{nodes[0]}]" for at, nodes in known.nodes.items() if at.endswith(site))
        return name

    (head,) = (part.name for part in found.parts if part.name.startswith("head "))
    assert says(found, head, Topic.LOOKS) == [
        "from the last token: looks at all tokens evenly",
        "in text: looks at all tokens evenly",
    ]
    assert "above 0.75 at ' ['" in says(found, node("attn.act_in"), Topic.TEXT)
    assert says(found, node("attn.v"), Topic.TEXT)[0].startswith("goes with 0.attn.act_in[")
    (fires,) = says(found, node("post_act"), Topic.CUES)
    assert fires.startswith("at the last token: about 0 with '[', about ")
    assert "' ]]' by " in says(found, node("final_resid"), Topic.PUSH)[-1]


def test_a_two_hop_lookup_is_said_to_look_where_the_first_hop_points(tmp_path: Path) -> None:
    known = two_hop_lookup(0)
    found = of_known(tmp_path, known)

    first, second = (part.name for part in found.parts if part.name.startswith("head "))
    assert says(found, first, Topic.LOOKS)[:2] == [
        "from the last token, with 'annaparis': looks mostly at ' annaparis'",
        "from the last token, with 'annarome': looks mostly at ' annarome'",
    ]
    assert says(found, second, Topic.LOOKS)[:2] == [
        "from the last token, with 'annaparis': looks mostly at ' parisrain'",
        "from the last token, with 'annarome': looks mostly at ' romesun'",
    ]
    query = f"0.attn.q[{known.nodes['0.attn.q'][0]}]"
    (asks,) = says(found, query, Topic.TEXT)
    asked = asks.removeprefix("goes with ").partition(",")[0]
    assert [text.partition(" at ")[2] for text in says(found, asked, Topic.TEXT)] == ["' anna'"]


def test_no_prompt_and_no_window_is_in_both_halves(copier: Path, halves: tuple[Half, Half]) -> None:
    made, checked = halves
    assert min(len(half.prompts.tokens) for half in halves) > 80
    assert not {*map(bytes, made.prompts.tokens)} & {*map(bytes, checked.prompts.tokens)}
    windows = runner_of(copier)[0].reference.tokens.numpy()
    both = np.concatenate([made.text.tokens, checked.text.tokens])
    assert sorted(map(tuple, both)) == sorted(map(tuple, windows))


def test_of_shuffled_activations_nothing_is_said_and_what_holds_is_chance(
    copier: Path, halves: tuple[Half, Half]
) -> None:
    runner, nodes, _ = runner_of(copier)
    made, checked = (shuffled(half, seed) for seed, half in enumerate(halves))
    words = Vocabulary.of(runner.model)
    places = Places.of(made.text), Places.of(checked.text)
    found = []
    for name, channel in nodes:
        node, site = (name, channel), runner.model.sites[name]
        assert goes_with(node, {*nodes} - {node}, made.text, checked.text) is None
        if np.ptp(made.text.values[node]) > 0.1:  # what is the same everywhere cannot be shuffled
            found += where_on(node, made.text, checked.text, places, words)
            found += [
                each
                for each in tells_apart(node, site, made.prompts, checked.prompts)
                if "with each cue" not in each.says
            ]
    for head in made.text.attention:
        found += from_last(head, made.prompts, checked.prompts, words)
        found += in_text(head, made.text, checked.text, words)

    assert len(found) > 15
    assert not [statement.says for statement in found if statement.stands]
    shares = [share for each in found for share in each.shares if share.chance is not None]
    off = [share.rate - share.chance for share in shares if share.chance and share.count >= 30]
    assert max(map(abs, off)) < ABOVE
    assert abs(float(np.mean(off))) < 0.05


def shuffled(half: Half, seed: int) -> Half:
    """The same with every activation and all attention in another order."""
    rng = np.random.default_rng(seed)

    def order(x: Numbers) -> Numbers:
        flat = x.reshape(-1, *x.shape[2:])
        return flat[rng.permutation(len(flat))].reshape(x.shape)

    def turn(x: Numbers, last: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Numbers:
        """Attention to the tokens that can be looked at, in another order in each row."""
        turned = x.copy()
        for place in np.ndindex(last.shape):
            row = turned[place]
            row[: last[place] + 1] = rng.permutation(row[: last[place] + 1])
        return turned

    asked, text = half.prompts, half.text
    return Half(
        replace(
            asked,
            carried={node: order(x) for node, x in asked.carried.items()},
            attention={head: turn(x, asked.last) for head, x in asked.attention.items()},
        ),
        replace(
            text,
            values={node: order(x) for node, x in text.values.items()},
            attention={head: turn(x, text.asked) for head, x in text.attention.items()},
        ),
    )


def test_pushes_of_either_sign_at_random_are_not_said(
    copier: Path, halves: tuple[Half, Half]
) -> None:
    rng, words = np.random.default_rng(0), Vocabulary.of(runner_of(copier)[0].model)
    made, checked = (
        replace(
            half.prompts,
            effects={
                node: rng.normal(size=x.shape) * 9 for node, x in half.prompts.effects.items()
            },
            raised={
                node: rng.integers(len(words.tokens), size=x.shape)
                for node, x in half.prompts.raised.items()
            },
        )
        for half in halves
    )
    found = [each for node in made.effects for each in pushes(node, made, checked, words)]
    assert len(found) > 40
    assert not [each.says for each in found if each.stands]


def test_what_holds_in_the_first_half_alone_is_not_said(
    copier: Path, halves: tuple[Half, Half]
) -> None:
    runner, _, _ = runner_of(copier)
    made, checked = halves
    node = ("0.attn.v", 0)
    other = replace(checked.text, values={node: np.flip(checked.text.values[node], axis=1)})
    places = Places.of(made.text), Places.of(other)

    found = where_on(node, made.text, other, places, Vocabulary.of(runner.model))

    assert [each.fit for each in found] == [1.0, 1.0]
    assert not any(each.stands for each in found)


@pytest.mark.parametrize(
    ("share", "stands"),
    [
        (Share(80, 100, "prompts", 0.5), True),
        (Share(79, 100, "prompts", 0.5), False),
        (Share(95, 100, "prompts", 0.8), False),
        (Share(9, 9, "prompts", 0.5), False),
        (Share(0, 0, "prompts", None), False),
    ],
)
def test_what_is_rare_or_seldom_right_or_right_by_chance_does_not_stand(
    share: Share, *, stands: bool
) -> None:
    statement = Statement(Topic.TEXT, "above 1 at 'a'", (share,))
    assert (share.stands, statement.stands) == (stands, stands)
    assert not Statement(Topic.TEXT, "x", (share, Share(1, 100, "prompts"))).stands


def test_of_tokens_that_have_no_kind_with_a_name_nothing_is_said(
    halves: tuple[Half, Half],
) -> None:
    made, checked = (half.text for half in halves)
    node = ("0.attn.act_in", 0)
    bare = Vocabulary(tuple(f"<{i}>" for i in range(1 + int(made.tokens.max()))), ())
    places = Places.of(made), Places.of(checked)
    values = np.random.default_rng(0).normal(size=made.values[node].shape)  # of no token
    scattered = replace(made, values={**made.values, node: values})
    assert where_on(node, scattered, checked, places, bare) == []


def made_up(count: int) -> Explanation:
    held = Statement(Topic.PUSH, "' a' by 1 to 2 nats with 'x y z'", (Share(9, 10, "prompts"),))
    not_held = Statement(Topic.TEXT, "above 1 at 'a'", (Share(50, 100, "tokens"),))
    shown = Example(0.0, "\u202eab", "\x1b[1m", " c", 1.5)
    part = Part("0.mlp.post_act[1]", "a neuron of layer 0", (held, not_held), "", (shown,))
    return Explanation((part,) * count, 10, 1000, "its mean")


@pytest.mark.parametrize(("count", "most"), [(5, 60), (40, 300), (100, 350), (200, 220)])
def test_an_explanation_of_any_size_is_legible(count: int, most: int) -> None:
    lines = explain_lines.lines(made_up(count))
    text = "\n".join(lines)

    assert len(lines) <= most
    assert max(map(len, lines)) <= 98
    assert text.count("' a' by 1 to 2 nats with 'x y z' (90 % of 10 prompts)") == count
    assert text.count("nothing simple holds; the nearest, above 1 at 'a', on 50 %") == (
        count if count <= explain_lines.IN_FULL else 0
    )
    assert f"Of {2 * count} predictions {count} were," in text.replace("\n", " ")


def test_parts_of_a_large_circuit_that_do_next_to_nothing_stand_together() -> None:
    share = Share(10, 10, "prompts")
    nothing = Statement(Topic.PUSH, "next to nothing with 'a'", (share,), little=True)
    idle = [Part(f"0.mlp.post_act[{n}]", "a neuron", (nothing,)) for n in range(100, 180)]
    for count in (30, 60, 140):
        shown = replace(made_up(count), parts=(*made_up(count).parts, *idle))
        text = "\n".join(explain_lines.lines(shown))

        assert text.count("next to nothing with") == 0
        (last,) = re.findall(r"pushes next to nothing:\n  0.mlp.post_act  ([^(]*)", text)
        assert [int(name) for name in last.split(",")] == list(range(100, 180))
        assert "(100 % of 800 prompts)" in text
    few = "\n".join(explain_lines.lines(replace(shown, parts=tuple(idle[:5]))))
    assert few.count("next to nothing with 'a' (100 % of 10 prompts)") == 5


def test_text_of_a_model_cannot_steer_the_terminal() -> None:
    text = "\n".join(explain_lines.lines(made_up(1)))
    assert r"1.5 \u202eab«\x1b[1m» c" in text
    assert text.replace("\n", "").isprintable()


@pytest.fixture
def without_gauges(copier: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Explanation]:
    """Explain the circuit of a model that does not show what its heads attend to."""
    runner, nodes, space = runner_of(copier)
    monkeypatch.setattr(type(runner.model), "gauges", {})
    return lambda: explain(runner, nodes, None, space)


def test_of_a_model_that_shows_no_attention_nothing_is_said_about_it(
    without_gauges: Callable[[], Explanation], of_copier: Explanation
) -> None:
    found = without_gauges()
    assert not [s for part in found.parts for s in part.tried if s.topic is Topic.LOOKS]
    assert len(found.parts) == len(of_copier.parts) - 2  # the heads
    assert says(found, "0.attn.v[0]", Topic.CUES) == says(of_copier, "0.attn.v[0]", Topic.CUES)
