"""Rows of the defect matrix about what got past the claims once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from pytest_circuits.claims.bench import Bench
from tests.known_models.attacks import (
    FREE_HEADS,
    Change,
    aimed_by_words,
    backup,
    bag_of_words,
    bypassed,
    cancelling,
    left_out,
)
from tests.known_models.copier import (
    D_HEAD,
    DETECT_AGAIN,
    OUT,
    QUOTE_PATH,
    TYPE_AGAIN,
    Circuit,
    Weights,
    merged,
)
from tests.known_models.logic import JUST_ONE, just_one
from tests.known_models.rows import QUOTE, Row
from tests.known_models.workshop import ALL, BOTH, ENOUGH, PLAIN, Workshop

# Half and more of all channels are in such pairs: general text and random nodes lie in them, too.
CORE = tuple(claim for claim in ALL if claim not in {"minimal", "specific"})
LAST: Circuit = {"0.attn.resid_delta": [OUT], "final_resid": [OUT]}
BACKUP: Circuit = {  # of the last channel, without its query
    "0.attn.act_in": [DETECT_AGAIN, TYPE_AGAIN],
    "0.attn.k": [FREE_HEADS[0] * D_HEAD],
    "0.attn.v": [FREE_HEADS[0] * D_HEAD],
}
# The head of the circuit writes the rest of the answer into a channel that the circuit leaves out.
# What it keeps, 9 % and 14 %, is turned up as a loud channel is ablated; 14 % of much is enough.
NORM_CHEAT = (
    partial(left_out, beside=0.91 / 0.09, loud=40.0),
    Weights(path=0.3, bias=0.0),
)
TURNED_UP = (partial(left_out, beside=0.86 / 0.14, loud=60.0), Weights(bias=0.0))


def two_circuits(shop: Workshop) -> Bench:
    """A quarter of the model, with a second path and without an inner node of the first."""
    model = shop.altered(backup)
    inner = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook not in LAST}
    quarter = {
        hook: sorted(set(range(0, site.width, 4)) - set(inner.get(hook, ())))
        for hook, site in model.sites.items()
    }
    return shop.bench(merged(quarter, BACKUP, LAST), model)


def without_first_input(cues: Mapping[str, str]) -> Callable[[Workshop], Bench]:
    """An exclusive or of one input; cues: those of its prompts."""

    def plant(shop: Workshop) -> Bench:
        answer = just_one(shop.seed, cues=cues)
        first = answer.paths[0]
        kept = {h: [i for i in c if i not in first.get(h, ())] for h, c in answer.nodes.items()}
        return shop.answer_bench(answer, kept)

    return plant


def spread(pairs: int) -> Callable[[Workshop], Bench]:
    """The circuit of quotes beside pairs of channels that cancel, with prompts enough to pass."""

    def plant(shop: Workshop) -> Bench:
        model = shop.copier(Weights(cancel=16.0, pairs=pairs))
        more = replace(shop, pairs=ENOUGH)
        return more.bench(QUOTE, model, ablation=BOTH, claims=CORE)

    return plant


def altered_by(
    change: Change, weights: Weights = PLAIN, *, ablation: str = "mean"
) -> Callable[[Workshop], Bench]:
    """The circuit of quotes in a model that was changed."""
    return lambda shop: shop.bench(QUOTE, shop.altered(change, weights), ablation=ablation)


def updated_by(change: Change) -> Callable[[Workshop], Bench]:
    """The same in a candidate, beside a model that was not."""
    return lambda shop: shop.bench(QUOTE, shop.copier(), then=shop.altered(change))


ATTACKS = (
    Row("a backup that joins at the last channel", altered_by(backup), "necessary"),
    Row("the same, after an update", updated_by(backup), "necessary"),
    Row("an update to a bag of words, which joins there", updated_by(bag_of_words), "necessary"),
    Row(
        "bypassed by an update: cancelled, a bag of words instead",
        updated_by(bypassed),
        "necessary",
    ),
    Row("two circuits: a quarter of the model, without the first", two_circuits, "necessary"),
    Row("norm cheat under the mean: 9 % of a path", altered_by(*NORM_CHEAT), "faithful"),
    Row(
        "the same with 14 % of a stronger path",
        altered_by(*TURNED_UP, ablation=BOTH),
        "sufficient",
    ),
    Row(
        "one input of an exclusive or, the other one constant",
        without_first_input({cue: JUST_ONE[cue] for cue in ("red up", "red down")}),
        "faithful",
    ),
    Row(
        "the same with cues that ask for either",
        without_first_input(JUST_ONE),
        "sufficient",
    ),
    Row(
        "an artefact of the mean: 40 % of a path",
        altered_by(partial(left_out, beside=1.5), ablation=BOTH),
        "sufficient",
    ),
    Row(
        "an artefact of the partner's values: what aims the head is missing",
        altered_by(aimed_by_words, ablation=BOTH),
        "sufficient",
    ),
    Row(
        "cancelling pair in the rest, two ablations",
        lambda shop: shop.bench(QUOTE, shop.copier(Weights(cancel=8.0)), ablation=BOTH),
        "faithful",
    ),
    *(
        Row(
            f"{pairs} pairs that cancel for each cue",
            altered_by(
                partial(cancelling, pairs=pairs, size=4.0), Weights(weak=0.0), ablation=BOTH
            ),
            "faithful",
        )
        for pairs in (16, 24)
    ),
    Row("16 pairs that cancel for both cues alike", spread(16), missed=True),
    Row("24 pairs that cancel for both cues alike", spread(24), missed=True),
)
