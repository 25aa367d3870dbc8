"""The rows of the defect matrix: what is planted, and the claim that is there to catch it.

A wrong circuit of a right model or a wrong model under a right circuit, in models whose weights
were set by hand, so that it is known what is right. `tests/benchmarks/defects.py` puts every row
to all claims under many seeds, `tests/claims/test_defects.py` to the claim that is named for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.random_circuits import random_circuits
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.bench import Bench
from tests.known_models import KINDS, redundant_quote
from tests.known_models.answer import KnownAnswer
from tests.known_models.attack_rows import ATTACKS
from tests.known_models.copier import (
    BIAS_NODE,
    NOISE,
    NOWHERE,
    OUT,
    QUOTE_PATH,
    TYPE,
    WEAK_PATH,
    Circuit,
    Weights,
    merged,
)
from tests.known_models.logic import both, just_one
from tests.known_models.rows import BRACKET, QUOTE, Row
from tests.known_models.workshop import BOTH, ENOUGH, Workshop

# In a name reader nothing varies but what the paths read, and there is no second behavior.
AUDIT = ("behaves", "sufficient", "necessary", "stable", "faithful", "blind", "depends_on")
BYPASS: Circuit = {  # the head's values are zero but at the quote: even attention finds it as well
    "0.attn.act_in": [TYPE],
    "0.attn.v": [0],
    "0.attn.resid_delta": [OUT],
    "final_resid": [OUT],
}
TURNED: Circuit = {"0.attn.resid_delta": [NOWHERE], "final_resid": [NOWHERE]}


def listed(nodes: Nodes) -> Circuit:
    """Nodes as a specification lists them."""
    return {hook: list(channels) for hook, channels in nodes.channels}


def answer_of(shop: Workshop) -> KnownAnswer:
    """One model of the kinds with a single path; the kind changes from seed to seed."""
    return KINDS[shop.seed % 3](shop.seed)


def one_missing(shop: Workshop) -> Bench:
    """The true circuit but for one node."""
    answer = answer_of(shop)
    nodes = Nodes.of(answer.nodes)
    missing = list(nodes)[shop.seed % nodes.count]
    return shop.answer_bench(answer, listed(nodes.without(*missing)))


def random_instead(shop: Workshop) -> Bench:
    """Random nodes, as many at each hook point as the true circuit has."""
    bench = shop.answer_bench(answer := answer_of(shop), answer.nodes)
    return shop.answer_bench(answer, _random(bench, avoid=bench.nodes))


def with_junk(shop: Workshop) -> Bench:
    """The true circuit and as many random nodes besides."""
    bench = shop.answer_bench(answer := answer_of(shop), answer.nodes)
    return shop.answer_bench(answer, merged(answer.nodes, _random(bench, avoid=bench.nodes)))


def _random(bench: Bench, *, avoid: Nodes) -> Circuit:
    found = random_circuits(
        bench.nodes, bench.model, bench.runner.reference, count=20, seed=bench.seed + 1
    )
    return listed(next(nodes for nodes in found if not set(nodes) & set(avoid)))


def backup_left_out(shop: Workshop) -> Bench:
    """One of two paths that both do the job."""
    answer = redundant_quote(shop.seed)
    return shop.answer_bench(answer, answer.paths[shop.seed % 2])


def channels_renumbered(shop: Workshop) -> Bench:
    """An update that computes the same, while every channel has another number."""
    answer = answer_of(shop)
    return shop.answer_bench(answer, answer.nodes, then=shop.renumbered)


def pruned_at_random(shop: Workshop) -> Bench:
    """The last channels that speak for the answer in a model whose weights were shuffled.

    All that lies before them is kept, so that they do so because the cue reaches every channel.
    """
    model = shop.shuffled(shop.copier())
    before = {h: range(site.width) for h, site in model.sites.items() if h != "final_resid"}
    each = [Nodes.of({**before, "final_resid": [i]}) for i in range(model.config.d_model)]
    bench = shop.bench({}, model)
    margins = bench.runner.margins_many(bench.control_pairs, [View.circuit(n) for n in each])
    apart = margins.sum(axis=2).mean(axis=1)  # [D] how far each tells the cues apart
    return shop.bench({**before, "final_resid": np.flatnonzero(apart > 0).tolist()}, model)


def half_of_the_model(shop: Workshop) -> Bench:
    """The true circuit and every other node."""
    model = shop.copier()
    half = {hook: range(0, site.width, 2) for hook, site in model.sites.items()}
    return shop.bench(merged(QUOTE, half), model)


DEFECTS = (
    Row(
        "nonsense task: the labels are swapped, a weak head does it",
        lambda shop: shop.bench(WEAK_PATH, shop.copier(Weights(weak=-0.5)), behavior="nonsense"),
        "behaves",
    ),
    Row("pruned in a model of shuffled weights", pruned_at_random, "behaves"),
    Row("other behavior's circuit", lambda shop: shop.bench(BRACKET, shop.copier()), "sufficient"),
    Row("random nodes of the same shape", random_instead, "sufficient"),
    Row("subset: a node is missing", one_missing, "sufficient"),
    Row("no nodes", lambda shop: shop.bench({}, shop.copier()), "sufficient"),
    Row(
        "all nodes",
        lambda shop: shop.bench(listed(all_nodes(shop.copier())), shop.copier()),
        "necessary",
    ),
    Row(
        "a node that biases the answer",
        lambda shop: shop.bench(BIAS_NODE, shop.copier(Weights(bias=24.0))),
        "sufficient",
    ),
    Row(
        "zero-ablation shortcut: a weak copy",
        lambda shop: shop.bench(WEAK_PATH, shop.copier(), ablation="zero"),
        "necessary",
    ),
    Row("backup left out", backup_left_out, "necessary"),
    Row(
        "right nodes, mechanism replaced by an update",
        lambda shop: shop.bench(
            QUOTE, shop.copier(), then=shop.copier(Weights(path=0.01, weak=1.5))
        ),
        "stable",
    ),
    Row("channels permuted by an update", channels_renumbered, "stable"),
    Row(
        "attention bypass",
        lambda shop: shop.bench(BYPASS, shop.copier(Weights(path=10.0))),
        "faithful",
    ),
    Row(
        "cancelling pair in the rest",
        lambda shop: shop.bench(QUOTE, shop.copier(Weights(cancel=8.0))),
        "faithful",
    ),
    Row(
        "norm cheat: a weak copy, turned up",
        lambda shop: shop.bench(
            merged(WEAK_PATH, {"final_resid": [OUT]}), shop.copier(), ablation="zero"
        ),
        "faithful",
    ),
    Row(
        "a node changes its role",
        lambda shop: shop.bench(merged(QUOTE, TURNED), shop.copier(Weights(turned=0.5))),
        "faithful",
    ),
    Row("superset: as many random nodes besides", with_junk, "minimal"),
    Row("superset: half of the model besides", half_of_the_model, "minimal"),
    Row("superset: a constant node", lambda shop: shop.bench(QUOTE_PATH, shop.copier()), "minimal"),
    Row(
        "superset: an idle neuron",
        lambda shop: shop.bench(
            merged(QUOTE, {"1.mlp.post_act": [NOISE.start + shop.seed]}), shop.copier()
        ),
        "minimal",
    ),
    Row(
        "circuits of two behaviors as one",
        lambda shop: shop.bench(merged(QUOTE, BRACKET), shop.copier()),
        "specific",
    ),
    Row(
        "the name is read",
        lambda shop: shop.bench(QUOTE, shop.reader(one=1.5), claims=AUDIT),
        "blind",
    ),
    Row(
        "the name is read by two paths that cancel",
        lambda shop: shop.bench(QUOTE, shop.reader(one=1.5, other=-1.5), claims=AUDIT),
        "blind",
    ),
    Row(
        "the cue is not read",
        lambda shop: shop.bench(QUOTE, shop.copier(Weights(path=0.0, weak=0.0))),
        "depends_on",
    ),
    Row(
        "a slot that has to matter is not read",
        lambda shop: shop.bench(QUOTE, shop.copier(), depends_on="cue, name"),
        "depends_on",
    ),
    *ATTACKS,
)


def _answer(
    kind: Callable[[int], KnownAnswer], ablation: str = "mean"
) -> Callable[[Workshop], Bench]:
    def plant(shop: Workshop) -> Bench:
        answer = kind(shop.seed)
        return shop.answer_bench(answer, answer.nodes, ablation=ablation)

    return plant


def _right(name: str, plant: Callable[[Workshop], Bench]) -> Row:
    """A circuit that has to pass, with prompts enough to show it."""
    return Row(name, lambda shop: plant(replace(shop, pairs=ENOUGH)))


TRUE_CIRCUITS = (
    _right("quotes", lambda shop: shop.bench(QUOTE, shop.copier())),
    _right("brackets", lambda shop: shop.bench(BRACKET, shop.copier(), behavior="bracket")),
    _right(
        "quotes, zero ablation",
        lambda shop: shop.bench(QUOTE_PATH, shop.copier(), ablation="zero"),
    ),
    _right(
        "quotes, after a harmless update",
        lambda shop: shop.bench(
            QUOTE, shop.copier(), then=shop.copier(Weights(path=1.4, jitter=0.05))
        ),
    ),
    _right(
        "quotes, blind to the name",
        lambda shop: shop.bench(QUOTE, shop.reader(), claims=AUDIT),
    ),
    *(_right(f"a model of {kind.__name__}", _answer(kind)) for kind in (*KINDS, both, just_one)),
    _right("quotes, two ablations", lambda shop: shop.bench(QUOTE, shop.copier(), ablation=BOTH)),
    _right(
        "brackets, two ablations",
        lambda shop: shop.bench(BRACKET, shop.copier(), behavior="bracket", ablation=BOTH),
    ),
    *(_right(f"a model of {kind.__name__}, two ablations", _answer(kind, BOTH)) for kind in KINDS),
)
