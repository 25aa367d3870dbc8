"""The parts of a search on models whose circuit is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.view import View, keep_masks
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prune.controls import Control
from pytest_circuits.prune.drafts import attribute, ranked, smallest
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.plan import MaskPlan
from pytest_circuits.prune.pool import split, together
from pytest_circuits.prune.refine import exchange, needed_edges, remove, repair
from pytest_circuits.prune.search import find_circuits, reprune
from pytest_circuits.prune.soft_masks import alone, margins, separation, sides
from pytest_circuits.prune.subject import NotFoundError
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.slots import ChoiceSlot
from tests.known_models import KINDS, KnownAnswer, quote_copier, two_hop_lookup
from tests.prune.conftest import QUICK, Known

PLAIN = replace(QUICK, masks=MaskPlan(steps=150), edges=False, controls=False)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind is not quote_copier], ids=lambda kind: kind.__name__
)
def test_the_known_circuit_is_found_to_the_node(
    known: Callable[..., Known], kind: Callable[[int], KnownAnswer]
) -> None:
    case = known(kind(3), PLAIN)
    (found,) = find_circuits([case.subject], case.reference, PLAIN)
    assert not isinstance(found, NotFoundError)
    assert found.nodes == case.nodes


def test_a_circuit_is_pruned_again_once_a_seed_and_nothing_where_there_is_none(
    known: Callable[..., Known],
) -> None:
    case = known(quote_copier(1), PLAIN)
    spec, model = case.subject.spec, case.subject.model

    assert reprune(spec, model, case.reference, 1) == (case.nodes,)
    unsearchable = spec.model_copy(update={"ablations": (Ablation.RESAMPLE,)})
    found = reprune(unsearchable, model, case.reference, 2)
    assert found == (Nodes.of({}), Nodes.of({}))


def test_margins_of_a_mask_and_its_complement_are_those_of_the_views(
    known: Callable[..., Known],
) -> None:
    subject = (case := known(two_hop_lookup(0))).subject
    prompts = subject.pool.first(4)
    nodes = [case.nodes, Nodes.of({})]
    on = {
        hook: m.float()
        for hook, m in keep_masks([View.circuit(n) for n in nodes], subject.model).items()
    }
    drawn = together([prompts, prompts])
    found = margins(subject.model, subject.fill, sides(on), drawn)
    for k, some in enumerate(nodes):
        for side, view in enumerate((View.circuit(some), View.without(some))):
            keep = keep_masks([view], subject.model)
            logits = run_circuits(
                subject.model, prompts.tokens[0], at=prompts.last[0], keep=keep, fill=subject.fill
            )[0]
            answer, foil = logits.gather(1, prompts.choices[0]).unbind(1)
            torch.testing.assert_close(found[k, side], answer - foil, rtol=0, atol=1e-4)


def test_separation_is_the_mean_margin_of_a_pair() -> None:
    given = torch.tensor([[3.0, -1.0, 0.5, 0.5]])
    assert separation(given).tolist() == [[1.0, 0.5]]


def test_searches_in_one_batch_are_those_that_run_alone(known: Callable[..., Known]) -> None:
    subject = known(quote_copier(2)).subject
    plan = MaskPlan(steps=40, pairs=4)

    def run(*seeds: int) -> Masks:
        masks = Masks(subject.model, [Search(subject.pool, seed) for seed in seeds], plan)
        for _ in learn(subject.objective, masks, plan):
            pass
        return masks

    together, alone = run(0, 1, 2), run(1)
    for hook, tau in together.tau.items():
        torch.testing.assert_close(tau[1], alone.tau[hook][0], rtol=0, atol=1e-3)
    assert together.on(1) == alone.on(0) != together.on(0)


def test_a_forbidden_node_is_never_kept_and_a_first_circuit_is_where_a_search_begins(
    known: Callable[..., Known],
) -> None:
    subject = (case := known(quote_copier(0))).subject
    barred = Nodes.of(dict([case.nodes.channels[0]]))
    plan = MaskPlan(steps=20, pairs=4)
    searches = [
        Search(subject.pool, 0, forbidden=barred),
        Search(subject.pool, 0, first=case.nodes),
    ]
    masks = Masks(subject.model, searches, plan)
    assert masks.on(1) == case.nodes
    assert not set(masks.on(0)) & set(barred)
    for _ in learn(subject.objective, masks, plan):
        assert not set(masks.on(0)) & set(barred)


def test_a_circuit_with_a_node_missing_is_repaired_and_one_with_too_many_is_cut_back(
    known: Callable[..., Known],
) -> None:
    subject = (case := known(quote_copier(0))).subject
    for node in case.nodes:
        repaired = repair(subject.judge, subject.proposer, case.nodes.without(*node))
        assert repaired == case.nodes
    padded = Nodes.gather([*case.nodes, *(("0.mlp.post_act", i) for i in range(12))])
    *_, kept = remove(subject.judge, subject.proposer, padded)
    assert kept == case.nodes
    assert list(exchange(subject.judge, subject.proposer, case.nodes, rounds=2)) == []


def test_nothing_repairs_a_circuit_whose_node_is_forbidden(known: Callable[..., Known]) -> None:
    subject = (case := known(quote_copier(0))).subject
    node = next(iter(case.nodes))
    rest = case.nodes.without(*node)
    assert repair(subject.judge, subject.proposer, rest, forbidden=frozenset({node})) is None


def test_only_needed_edges_are_kept(known: Callable[..., Known]) -> None:
    subject = (case := known(two_hop_lookup(0))).subject
    padded = Nodes.gather(
        [*case.nodes, *((hook, i) for hook in subject.model.sites for i in range(8))]
    )
    every, needed = live_edges(padded, subject.model), needed_edges(subject.judge, padded)
    assert 0 < needed.count < every.count
    assert set(needed) <= set(every)
    bar = subject.judge.bar
    assert subject.judge.alone([(padded, needed)])[0].reaches(bar)
    for ends, pair in needed:
        fewer = {e: [p for p in pairs if (e, p) != (ends, pair)] for e, pairs in needed.pairs}
        assert not subject.judge.alone([(padded, Edges.of(fewer))])[0].reaches(bar)
    *_, kept = padded, *remove(subject.judge, subject.proposer, padded, needed)
    assert kept == case.nodes


def test_the_smallest_prefix_is_found_although_a_longer_one_may_be_worse(
    known: Callable[..., Known],
) -> None:
    judge = (case := known(quote_copier(0))).subject.judge
    others = [node for node in all_nodes(case.subject.model) if node not in set(case.nodes)]
    ranking = [*others[:3], *case.nodes, *others[3:40]]
    nodes = smallest(judge.first, ranking, most=len(ranking))
    assert nodes == Nodes.gather(ranking[: 3 + case.nodes.count])
    assert smallest(judge.first, ranking, most=4) is None


def test_attribution_finds_what_the_loss_changes_by(known: Callable[..., Known]) -> None:
    """Integrated gradients are complete: they add up to the loss that the whole model saves."""
    subject = (case := known(quote_copier(0))).subject
    prompts = subject.pool.first(16)
    scores = attribute(subject.model, subject.fill, prompts)
    losses = []
    for value in (0.0, 1.0):
        on = {
            hook: torch.full((1, site.width), value) for hook, site in subject.model.sites.items()
        }
        found = margins(subject.model, subject.fill, alone(on), prompts)
        losses.append(float(np.logaddexp(0, -found.numpy()).mean()))
    total = sum(float(score.sum()) for score in scores.values())
    assert total == pytest.approx(losses[0] - losses[1], abs=0.05)
    first = ranked(scores)[: 3 * case.nodes.count]
    assert len(set(first) & set(case.nodes)) >= case.nodes.count - 1


def test_training_and_evaluation_share_no_prompt_unless_they_are_the_whole_space(
    known: Callable[..., Known],
) -> None:
    behavior = known(quote_copier(0)).subject.spec.behavior
    parts = split(PromptSpace(behavior), evaluation=64)
    assert not set(parts.training) & set(parts.evaluation)
    assert sum(parts.weights) == pytest.approx(1)
    slots = behavior.slots | {"words": ChoiceSlot(choice=("alpha beta", "gamma"))}
    space = PromptSpace(behavior.model_copy(update={"slots": slots}))
    parts = split(space, evaluation=64)
    assert parts.training == parts.evaluation == tuple(pair for pair, _ in space.enumerate())


def test_a_shuffled_model_has_the_same_weights_elsewhere(known: Callable[..., Known]) -> None:
    model = known(quote_copier(0)).subject.model
    assert isinstance(model, SparseModel)
    shuffled = model.shuffled(seed=0)
    before, after = model.module.state_dict(), shuffled.module.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor.flatten().sort().values, after[name].flatten().sort().values)
    assert not torch.equal(before["embed.weight"], after["embed.weight"])


def test_a_control_counts_where_it_is_not_clearly_larger() -> None:
    reached = Control(nodes=14, loss=0.05, reached=True)
    assert reached.is_far_from(9)
    assert not reached.is_far_from(10)
    assert str(reached) == "14 nodes"
    assert Control(nodes=3, loss=0.6, reached=False).is_far_from(100)


def test_what_cannot_be_searched_is_refused(known: Callable[..., Known]) -> None:
    case = known(quote_copier(0))
    spec = case.subject.spec.model_copy(update={"ablations": (Ablation.RESAMPLE,)})
    with pytest.raises(NotFoundError, match="needs mean or zero ablation"):
        type(case.subject).of(spec, case.subject.model, case.reference, PLAIN)
