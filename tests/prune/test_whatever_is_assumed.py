"""Searches ask for what the claims do: under each ablation, with edges cut, with parts ablated."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.attention import kept_heads
from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.encoding import Floats
from pytest_circuits.circuit.inside import DRAWS, interchanges, look_inside
from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.parts_of_rest import GAP_PAIRS, gap_shown
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.statistics import GAPS
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.hold import attacks, hold
from pytest_circuits.prune.idle import spare
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.met import Met, Portion
from pytest_circuits.prune.objective import FLIP
from pytest_circuits.prune.plan import MaskPlan, PrunePlan
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.prune.refine import remove
from pytest_circuits.prune.search import Found, find_circuits
from pytest_circuits.prune.stages import Checkpoints
from pytest_circuits.prune.subject import Subject
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import LoadedSpec, parse_spec
from tests.known_models import (
    QUOTE_PATH,
    Circuit,
    KnownAnswer,
    Weights,
    bracket_counter,
    quote_spec,
    two_hop_lookup,
    write_quote_copier,
)
from tests.known_models.workshop import BOTH, FAITHFUL, answer_spec

CLAIMS = ("behaves", "sufficient", "necessary", "faithful")
PATH = Nodes.of({hook: nodes for hook, nodes in QUOTE_PATH.items() if hook != "0.attn.q"})
QUICK = PrunePlan(
    masks=MaskPlan(steps=60, lr=0.06), evaluation_pairs=32, rounds=1, edges=False, controls=False
)


def _specified(nodes: Circuit, folder: Path) -> LoadedSpec:
    text = quote_spec(
        nodes,
        ablation="[mean, contrast]",
        claims=CLAIMS,
        protocol="{pairs: 300, search: 10, controls: 59}",
    )
    return parse_spec(text, path=folder / "q.circuit.yaml")


def _subject(folder: Path, weights: Weights) -> Subject:
    model = load_model(write_quote_copier(folder / "model", weights))
    return Subject.of(_specified({}, folder).spec, model, load_reference(model), QUICK)


def test_masks_are_tried_as_views_run(tmp_path: Path) -> None:
    """What learning sees in one forward is what the claims measure, way by way."""
    subject = _subject(tmp_path, Weights(weak=0.4))
    judge, model = subject.judge, subject.model
    pairs, encoder = judge.pairs[:6], judge.runner._encoder
    prompts = Prompts.of(pairs, encoder, partners=True)
    part = Nodes.of({"0.attn.v": range(20), "final_resid": range(5, 30)})
    masks = ({n: m.float() for n, m in masks_of(model, [x]).items()} for x in (PATH, part))
    on, rest = masks
    stays = {ablation: {n: m[None] for n, m in rest.items()} for ablation in Ablation}

    tried = subject.objective.tried(on, prompts, stays)

    def seen(runner: Runner, view: View) -> Floats:
        found: Floats = runner.margins_many(pairs, [view])[0]
        return found

    losses, left, shares, gaps = [], [], list[float](), []
    for ablation in (Ablation.MEAN, Ablation.CONTRAST):
        runner = judge.runner.under(ablation)
        turned = ablation is Ablation.CONTRAST

        losses.append(np.logaddexp(0, -seen(runner, View.circuit(PATH))).mean())
        upstream = Nodes.gather(n for n in PATH if not model.sites[n[0]].is_output)
        ways = [View.without(PATH), *([View.without(upstream)] if turned else [])]
        ways.append(View.without(Nodes.of({}), live_edges(PATH, model)))
        for view in ways:
            margins = seen(runner, view)
            left.append(margins.ravel() + FLIP if turned else margins.mean(axis=1))
            shares.append((margins > 0).mean())
        beside = Portion(part, stays=True).beside(PATH, None)
        whole, with_part = (np.logaddexp(0, -seen(runner, view)).mean() for view in (WHOLE, beside))
        gaps.append(with_part - whole)
    for found, expected in (
        (tried.losses, losses),
        ([each.nats for each in tried.left], left),
        ([each.share for each in tried.left], shares),
        (tried.gaps, gaps),
    ):
        for mine, other in zip(found, expected, strict=True):
            torch.testing.assert_close(
                mine.double().flatten(),
                torch.as_tensor(other).double().flatten(),
                rtol=0,
                atol=1e-4,
            )


@pytest.mark.parametrize(
    "circuit",
    [PATH, Nodes.gather(n for n in PATH if n[0] != "0.attn.k"), Nodes.of({"0.attn.v": [0]})],
    ids=["path", "no key", "lone value"],
)
def test_what_masks_are_like_inside_is_what_is_seen_there(tmp_path: Path, circuit: Nodes) -> None:
    subject = _subject(tmp_path, Weights())
    judge, model = subject.judge, subject.model
    pairs = judge.pairs[:6]
    prompts = Prompts.of(pairs, judge.runner._encoder, partners=True)
    on = {name: mask.float() for name, mask in masks_of(model, [circuit]).items()}

    inside = subject.objective.tried(on, prompts).inside

    assert inside is not None
    heads = kept_heads(circuit, model)
    seen = look_inside(judge.runner, View.circuit(circuit), pairs, heads=heads)
    np.testing.assert_allclose(inside.frozen[0].view(-1, 2), seen.frozen, atol=1e-4)
    apart = [[float(inside.attention[0, head])] for _, head in heads]  # of the only layer
    np.testing.assert_allclose(apart, seen.attention.mean(axis=1, keepdims=True), atol=1e-4)
    assert seen.correlations.min() - 0.01 <= inside.correlation <= seen.correlations.max() + 0.01


def test_a_search_under_attack_finds_what_holds_under_either_ablation(tmp_path: Path) -> None:
    """Two channels cancel in the rest: the path does not hold without one of them."""
    weights = Weights(cancel=8.0)
    subject = _subject(tmp_path, weights)

    (found,) = find_circuits([subject], subject.judge.runner.reference, QUICK)

    assert isinstance(found, Found)
    assert set(PATH) < set(found.nodes)
    assert found.nodes.count <= PATH.count + 2
    loaded = _specified(dict(found.nodes.channels), tmp_path)
    bench = make_bench(loaded, subject.model)
    verdicts = {claim: run_claim(bench, claim).verdict for claim in CLAIMS}
    assert verdicts == dict.fromkeys(CLAIMS, Verdict.PASS)


def test_searches_that_take_turns_in_a_step_are_those_of_one_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do many that learn against parts of the rest: one forward holds so many tokens."""
    subject, plan = _subject(tmp_path, Weights()), MaskPlan(steps=6, pairs=4)

    def learnt() -> Masks:
        masks = Masks(subject.model, [Search(subject.pool, seed) for seed in range(3)], plan)
        assert [step.step for step in learn(subject.objective, masks, plan)] == [*range(6)]
        return masks

    together = learnt()
    monkeypatch.setattr("pytest_circuits.prune.masks._TOKENS", 1)
    by_turns = learnt()

    for hook, tau in together.tau.items():
        torch.testing.assert_close(by_turns.tau[hook], tau, rtol=0, atol=1e-4)


def test_a_circuit_is_cut_back_as_far_as_attacks_let_it(tmp_path: Path) -> None:
    """One that holds is cut, and what breaks it is known from there on."""
    subject = _subject(tmp_path, Weights(cancel=8.0))
    held, told = PATH.count + 1, list[int]()
    larger = Nodes.gather([*PATH, *(("final_resid", i) for i in range(24))])

    found = hold(subject.judge, subject.proposer, larger, lambda x: told.append(x.nodes.count))

    assert found is not None
    assert found.nodes.count <= held + 1
    assert set(PATH) < set(found.nodes)
    assert told == sorted(told, reverse=True)  # each that holds is smaller than the one before
    assert not attacks(subject.judge, found.nodes, None, number=99)


@pytest.mark.parametrize("answer", [bracket_counter(2), two_hop_lookup(11)], ids=["role", "head"])
def test_noise_that_does_otherwise_without_other_noise_keeps_no_circuit_large(
    answer: KnownAnswer, tmp_path: Path
) -> None:
    """A node that turns its role around, or a head that looks elsewhere, goes with what it lost."""
    model = load_model(answer.write(tmp_path / "model"))
    text = answer_spec(answer, {}, ablation=BOTH, more=FAITHFUL)
    spec = parse_spec(text, path=tmp_path / "known.circuit.yaml").spec
    subject = Subject.of(spec, model, load_reference(model), QUICK)
    path, noise = Nodes.of(answer.nodes), list(all_nodes(model))[::6]
    padded = Nodes.gather([*path, *noise])

    *_, kept = remove(subject.judge, subject.proposer, padded)

    assert padded.count > 128  # so many are not asked for roles
    assert kept == path


def test_a_search_keeps_no_circuit_that_breaks_the_law_of_sufficient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be against the whole model at one prompt, by less than the margin."""
    judge = _subject(tmp_path, Weights()).judge
    judge.bar = replace(judge.bar, min_rate=0.95)
    planted = np.full((len(judge.pairs), 2), 5.0)
    monkeypatch.setattr(judge, "_alone", SimpleNamespace(margins=lambda _: [planted]))

    def reaches() -> bool:
        (quality,) = judge.alone([(PATH, None)])
        assert quality.reaches(judge.bar) is (quality.excess(judge.bar) == 0)
        return quality.reaches(judge.bar)

    planted[7, 1] = judge.bar.min_least + 0.1
    assert judge.bar.min_least < -0.1
    assert reaches()
    planted[7, 1] = judge.bar.min_least - 0.1
    assert not reaches()
    judge.signs[7, 1] = -1  # the whole model is wrong there as well
    assert reaches()


def test_what_does_nothing_goes_unless_a_claim_needs_it(tmp_path: Path) -> None:
    """The key does nothing where the circuit runs alone, but says where the head looks."""
    subject = _subject(tmp_path, Weights(path=10.0))
    padded = Nodes.gather([*PATH, ("0.attn.q", 0), ("1.mlp.post_act", 30)])
    every = live_edges(padded, subject.model)

    nodes, edges = spare(subject.eased, padded, every)

    assert nodes == PATH
    assert set(edges) <= set(live_edges(PATH, subject.model))


def test_masks_shrink_where_not_even_all_nodes_reach_the_target(tmp_path: Path) -> None:
    """What a model is not sure of, or does without any node, presses on no mask."""
    subject, plan = _subject(tmp_path, Weights()), MaskPlan(steps=60, lr=0.06, target=1e-4)
    masks = Masks(subject.model, [Search(subject.pool, 0)], plan)

    *_, last = learn(subject.objective, masks, plan)

    assert last.nodes < 400  # of 1,088


def test_masks_that_are_learnt_under_attack_go_on_from_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.prune.stages._EVERY", 0.0)
    subject, plan = _subject(tmp_path, Weights(cancel=8.0)), MaskPlan(steps=15, pairs=4)

    def fresh() -> Masks:
        return Masks(subject.model, [Search(subject.pool, seed) for seed in (0, 1)], plan)

    whole, killed, gone_on = fresh(), fresh(), fresh()
    list(learn(subject.objective, whole, plan))
    list(islice(learn(subject.objective, killed, plan, Checkpoints(tmp_path / "kept")), 12))
    steps = list(learn(subject.objective, gone_on, plan, Checkpoints(tmp_path / "kept")))

    assert [step.step for step in steps] == [12, 13, 14]
    for hook, tau in whole.tau.items():
        assert torch.equal(tau, gone_on.tau[hook])


@pytest.mark.parametrize(
    ("claims", "edges", "gap"),
    [(CLAIMS, True, 0.2), (("behaves", "sufficient"), False, None)],
    ids=["all", "few"],
)
def test_a_search_asks_what_is_declared(
    tmp_path: Path, claims: tuple[str, ...], *, edges: bool, gap: float | None
) -> None:
    model = load_model(write_quote_copier(tmp_path / "model"))
    spec = parse_spec(quote_spec({}, claims=claims), path=tmp_path / "q.circuit.yaml").spec

    demands = Subject.of(spec, model, load_reference(model), QUICK).objective.demands

    assert (demands.edges, demands.max_gap) == (edges, gap)
    lenient = Subject.of(spec, model, load_reference(model), QUICK.sufficient_only())
    assert lenient.objective.demands == replace(demands, necessity=False, edges=False)


def test_what_a_part_costs_is_asked_as_the_claim_will_show_it(tmp_path: Path) -> None:
    """A search sees fewer pairs than the claim, and asks for the bound that the claim will have."""
    subject = _subject(tmp_path, Weights(cancel=2.0))
    judge, model = subject.judge, subject.model
    bench = make_bench(_specified(dict(PATH.channels), tmp_path), model)
    view = View.without(Nodes.of({"final_resid": range(10, 24)}))

    asked = judge.beside(judge.runner, [view])

    own, ablated = (
        np.logaddexp(0, -bench.runner.margins(bench.sample.pairs, each)) for each in (WHOLE, view)
    )
    shown = bench.sample.mean(ablated - own, 0.01, GAPS)
    assert shown.estimate + 0.01 < shown.upper  # sampled: there is a bound to speak of
    assert asked.gap == pytest.approx(shown.upper, abs=0.03)


def test_a_part_that_turns_prompts_is_too_much_however_little_it_costs(tmp_path: Path) -> None:
    judge = _subject(tmp_path, Weights()).judge

    asked = judge.beside(judge.runner, [View.without(PATH)])

    assert judge.demands.turned == pytest.approx(0.5)  # 95 % are asked alone, 90 % with a part
    assert asked.rate == pytest.approx(1 - 0.5 * judge.demands.turned, abs=0.05)
    assert asked.gap < 1.0
    assert not asked.reaches(replace(judge.bar, max_gap=1.0))


def test_of_parts_drawn_at_random_the_mean_counts_and_no_rate(tmp_path: Path) -> None:
    judge = _subject(tmp_path, Weights()).judge
    views = [View.without(PATH), *(View.without(Nodes.of({})) for _ in range(2))]

    alone, asked = judge.beside(judge.runner, views[:1]), judge.beside(judge.runner, views)

    assert asked.rate == 1.0 > alone.rate
    gaps = np.logaddexp(0, -judge.runner.margins_many(judge.pairs, views)).mean(axis=(0, 2))
    gaps -= np.logaddexp(0, -judge.runner.margins(judge.pairs, WHOLE)).mean(axis=1)
    assert asked.gap == pytest.approx(gap_shown(gaps, 0.01, pairs=GAP_PAIRS))
    assert asked.gap < 0.6 * alone.gap


def test_small_parts_are_what_an_attack_found_of_a_node_or_two() -> None:
    two = Nodes.of({"final_resid": (3, 7)})
    found = [
        Met(Ablation.MEAN, (Portion(two, stays=False),)),
        Met(Ablation.MEAN, (Portion(two, stays=True),)),
        Met(Ablation.MEAN, (Portion(two, stays=False),) * 3),
    ]
    assert [[*met.small(2)] for met in found] == [[*two], [], []]
    assert [[*met.small(1)] for met in found] == [[], [], []]
    assert [met.drawn for met in found] == [False, False, True]


def test_a_circuit_is_judged_with_values_of_the_whole_model_in_some_of_its_nodes(
    tmp_path: Path,
) -> None:
    judge = _subject(tmp_path, Weights(cancel=8.0)).judge
    circuit = Nodes.gather(n for n in PATH if n[0] != "0.attn.resid_delta")

    quality = judge.measure((circuit, None))

    some = [*interchanges(circuit, np.random.default_rng(0))]
    seen = look_inside(judge.runner, View.circuit(circuit), judge.pairs, given=some)
    own = np.logaddexp(0, -judge.runner.margins(judge.pairs, WHOLE)).mean(axis=1)
    given = np.logaddexp(0, -seen.interchanged).mean(axis=2) - own
    given = given.reshape(-1, DRAWS, len(own)).mean(axis=1)  # as the claim does
    frozen = np.logaddexp(0, -seen.frozen).mean(axis=1) - own
    assert quality.gap == pytest.approx(given.mean(axis=1).max(), rel=0.01)
    assert quality.gap > gap_shown(frozen, 0.01, pairs=GAP_PAIRS) + 0.5
