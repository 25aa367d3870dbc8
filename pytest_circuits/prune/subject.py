"""One behavior of one model, prepared for a search: prompts, bar and judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from torch import Tensor

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.margin import margin_of
from pytest_circuits.circuit.nodes import all_nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.errors import CircuitsError
from pytest_circuits.model.protocol import Compiles, Model, widths_of
from pytest_circuits.model.reference import Reference
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.prune.judge import FEW, Judge
from pytest_circuits.prune.objective import Demands, Objective
from pytest_circuits.prune.plan import FEW_NODES, PrunePlan
from pytest_circuits.prune.pool import Prompts, split
from pytest_circuits.prune.quality import Bar
from pytest_circuits.prune.refine import Proposer
from pytest_circuits.spec.ablations import Ablation, Given, first_constant
from pytest_circuits.spec.types import NecessaryClaim, Spec, SufficientClaim

_RATE = 0.95  # of `sufficient`, where it is not declared
ENOUGH = 1.0  # nats: what tells the prompts of a pair apart by so much does the task


class NotFoundError(CircuitsError):
    """No circuit reaches the bar."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is searched: a behavior, the model that has it, and how a circuit of it is judged."""

    spec: Spec
    model: Model
    fill: dict[str, Tensor]  # under a constant ablation; nothing, where there is none
    pool: Prompts  # that masks learn from: K = 1
    judge: Judge
    eased: Judge  # of what parts do that do nothing where the circuit runs alone
    proposer: Proposer
    objective: Objective

    @classmethod
    def of(cls, spec: Spec, model: Model, reference: Reference, plan: PrunePlan) -> Subject:
        """Prepare a search; NotFoundError where there is nothing that a circuit could explain."""
        ablation = _searched(spec)
        model = in_scope(spec, model)
        parts = split(PromptSpace(spec.behavior), evaluation=plan.evaluation_pairs)
        runner, demands = Runner(model, reference, ablation), demands_of(spec, plan)
        margin = margin_of(spec.protocol, runner, parts.evaluation)
        own = float(np.logaddexp(0, -runner.margins(parts.evaluation, WHOLE)).mean())
        bar = bar_of(spec, plan, margin=margin, own=own)
        judge = Judge(runner, parts.evaluation, parts.weights, bar, demands)
        more = split(PromptSpace(spec.behavior), evaluation=plan.eased().evaluation_pairs)
        lower = bar_of(spec, plan.eased(), margin=margin, own=own)
        eased = Judge(runner, more.evaluation, more.weights, lower, demands)
        _require_behavior(spec, judge)
        _require_nodes(spec, judge, margin=margin)
        fills = {
            each: each.kind.fill(Given(reference))
            for each in demands.ablations
            if each.kind.constant
        }
        objective, encoder = Objective(model, fills, demands), Encoder(model)
        training, some = (
            Prompts.of(pairs, encoder, partners=demands.partners)
            for pairs in (parts.training, spread(parts.evaluation, demands))
        )
        proposer = Proposer(judge, objective, some)
        return cls(
            spec, model, fills.get(ablation, {}), training, judge, eased, proposer, objective
        )


def _searched(spec: Spec) -> Ablation:
    """The ablation under which a search begins: a constant one, or the partners' values."""
    first, faithful = first_constant(spec.ablations), spec.claims.faithful
    partners = [each for each in spec.ablations if each.kind.from_partner]
    found = first or next(iter(partners if faithful is None else ()), None)
    if found is None:
        raise NotFoundError(
            f"{spec.circuit}: a search needs mean or zero ablation besides, where what is left "
            f"out is constant; under {spec.ablations[0].value} it is not. Let `ablation` name "
            f"both, as in [mean, {spec.ablations[0].value}]"
        )
    return found


def demands_of(spec: Spec, plan: PrunePlan) -> Demands:
    """What the search tries circuits for, from what the claims are about."""
    necessity, faithful = plan.masks.backup_weight > 0, spec.claims.faithful
    rate = spec.claims.sufficient.rate if spec.claims.sufficient else _RATE
    first = first_constant(spec.ablations)
    return Demands(
        tuple(sorted(spec.ablations, key=lambda each: each is not first)),
        necessity=necessity,
        edges=necessity and spec.claims.necessary is not None,
        max_gap=faithful.max_gap if faithful else None,
        few=faithful.few if faithful else 1,
        min_correlation=faithful.min_correlation if faithful else 0.0,
        max_attention=faithful.max_attention if faithful else 1.0,
        turned=(1 - rate) / max(1 - faithful.rate, 0.01) if faithful else 1.0,
        risk=spec.protocol.alpha,
        pairs=spec.protocol.pairs,
        space=PromptSpace(spec.behavior).size,
    )


def ranks_nodes(spec: Spec, model: Model) -> bool:
    """Whether a search begins with a ranking of the nodes where nobody asks for another method.

    Masks are learnt in hundreds of forwards and backwards, which pays where there are thousands of
    nodes or what circuits do alone is run compiled.
    """
    few = sum(widths_of(in_scope(spec, model)).values()) <= FEW_NODES
    return few and not isinstance(model, Compiles)


def spread(pairs: Sequence[Pair], demands: Demands) -> Sequence[Pair]:
    """Some pairs for gradients, taken from all over: a whole space comes in its order."""
    most = 2 * FEW if len(demands.ablations) == 1 and demands.max_gap is None else FEW // 2
    return pairs[:: -(-len(pairs) // most)]


def bar_of(spec: Spec, plan: PrunePlan, *, margin: float, own: float = 0.0) -> Bar:
    """What the search asks for, from what the claims ask for.

    own: task loss of the whole model, in nats; where it is near what is allowed, the bar lies
    between the two.
    """
    sufficient = spec.claims.sufficient or SufficientClaim(rate=_RATE, max_loss=0.15)
    necessary = spec.claims.necessary or NecessaryClaim(max_rate=0.65)
    faithful = spec.claims.faithful
    every = PromptSpace(spec.behavior).size <= spec.protocol.pairs  # is seen: rates have no bounds
    rate_share, left_share = plan.rate_share, plan.left_share
    if every and left_share < inf:
        rate_share = left_share = plan.whole_share
    return Bar(
        max_loss=max(plan.loss_share * sufficient.max_loss, (own + sufficient.max_loss) / 2),
        min_rate=1 - rate_share * (1 - sufficient.rate),
        max_left=0.5 + left_share * (necessary.max_rate - 0.5),
        max_separation=plan.separation_share * margin,
        min_least=-plan.separation_share * margin,
        min_flip=1 - rate_share * (1 - necessary.min_flip),
        max_gap=plan.gap_share * faithful.max_gap if faithful else inf,
        min_correlation=1 - plan.correlation_share * (1 - faithful.min_correlation)
        if faithful
        else 0.0,
        max_attention=plan.attention_share * faithful.max_attention if faithful else 1.0,
        roles=faithful is not None,
    )


def _require_behavior(spec: Spec, judge: Judge) -> None:
    holds = judge.runner.margins(judge.pairs, WHOLE) > 0
    rate = float(holds.mean())
    if rate < judge.bar.min_rate:
        raise NotFoundError(
            f"{spec.circuit}: the whole model prefers the answer on {rate:.1%} of {holds.size} "
            f"prompts, which is no behavior that a circuit could explain: at least "
            f"{judge.bar.min_rate:.1%} needed; look at the prompts, or take another model"
        )


def _require_nodes(spec: Spec, judge: Judge, *, margin: float) -> None:
    """Refuse what the model does without any node: the bigram table alone can do some behaviors."""
    nothing = View.without(all_nodes(judge.runner.model))
    apart = float(judge.runner.margins(judge.pairs, nothing).mean(axis=1).max())
    if judge.bar.asks_for_necessity and apart >= min(margin, ENOUGH):
        raise NotFoundError(
            f"{spec.circuit}: with every node ablated the model still tells the prompts of a pair "
            f"apart by {apart:.2f} nats: what it adds to the logits without any node, such as the "
            "bigram table, does the task, and no circuit is needed. Gate it by `behaves` alone, or "
            "let both prompts of a pair end in the same token"
        )
