"""A limit so wide that a circuit without the behavior would pass is said, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pytest_circuits.claims.lax import FEWEST, lax_of
from pytest_circuits.spec.lax import Lax
from pytest_circuits.spec.load import LoadedSpec, load_spec, parse_spec
from pytest_circuits.spec.types import Spec
from tests.known_models import QUOTE_PATH, quote_spec

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "claims-in-full.md"
CLAIMS = (
    *("behaves", "sufficient", "necessary", "stable", "faithful", "minimal", "specific"),
    *("blind", "depends_on"),
)
KNOWN = "what knows half of the answers would pass"
ORDER = "every third pair of nodes may be in another order"
LOST = "half of what is known may be lost"
LAX = {
    "behaves: {rate: 0.98}": ("behaves: {rate: 0.6}", f"behaves.rate of 0.6 ({KNOWN})"),
    "rate: 0.95, max": ("rate: 0.001, max", f"sufficient.rate of 0.001 ({KNOWN})"),
    "max_loss: 0.15": ("max_loss: 0.69", f"sufficient.max_loss of 0.69 ({KNOWN})"),
    "max_rate: 0.65": (
        "max_rate: 0.999",
        "necessary.max_rate of 0.999 (half of the answers may still be known)",
    ),
    "stable: {max_drop: 0.02}": ("stable: {max_drop: 0.5}", f"stable.max_drop of 0.5 ({LOST})"),
    "max_drop: 0.02}": (
        "max_drop: 0.02, max_rise: 0.9}",
        "stable.max_rise of 0.9 (half of the pairs may be told apart without it)",
    ),
    "{max_drop: 0.02}": (
        "{max_drop: 0.02, identity: {min_correlation: 0.1}}",
        "stable.identity.min_correlation of 0.1 (what shares a quarter of the variance would pass)",
    ),
    ": {max_drop: 0.02}": (
        ": {max_drop: 0.02, identity: {max_attention: 0.9}}",
        "stable.identity.max_attention of 0.9 (half of a head's attention may be elsewhere)",
    ),
    "stable: {max_drop": (
        "stable: {effects: {min_correlation: 0.1}, max_drop",
        "stable.effects.min_correlation of 0.1 (every third pair of nodes may be in another order)",
    ),
    "necessary: {max_rate: 0.65": (
        "necessary: {max_rate: 0.65, min_flip: 0.6",
        "necessary.min_flip of 0.6 (half may stay)",
    ),
    "stable: {": (
        "stable: {effects: {max_change: 1.5}, ",
        "stable.effects.max_change of 1.5 (a node may do as much as the whole model)",
    ),
    "  stable: {": (
        "  stable: {max_factor: 9, ",
        "stable.max_factor of 9 (another path may do three quarters of the job)",
    ),
    "faithful: {rate: 0.9": ("faithful: {rate: 0.55", f"faithful.rate of 0.55 ({KNOWN})"),
    "max_gap: 0.2": ("max_gap: 0.6", f"faithful.max_gap of 0.6 ({KNOWN})"),
    "quantile: 0.9": (
        "quantile: 0.2",
        "minimal.quantile of 0.2 (a part may do less than half of random nodes)",
    ),
    "max_drop: 0.1": ("max_drop: 0.9", f"specific.max_drop of 0.9 ({LOST})"),
    "[name], rate: 0.9": (
        "[name], rate: 0.6",
        "blind.rate of 0.6 (what the slots decide half of the time would pass)",
    ),
    "[cue], rate: 0.9": (
        "[cue], rate: 0.2",
        "depends_on.rate of 0.2 (half of the changes may move nothing)",
    ),
    "protocol: {}": (
        "protocol: {controls: 19}",
        "protocol.controls of 19 (beating them all is p = 0.05)",
    ),
    "protocol: {": (
        "protocol: {alpha: 0.1",
        "protocol.alpha of 0.1 (a pass in twenty may be wrong)",
    ),
}
ALL = quote_spec(QUOTE_PATH, claims=CLAIMS)


def marks_of(kind: type[BaseModel]) -> Iterator[Lax]:
    """Where limits become lax, anywhere in a type."""
    for field in kind.model_fields.values():
        yield from (mark for mark in field.metadata if isinstance(mark, Lax))
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from marks_of(inner)


def loaded(text: str) -> LoadedSpec:
    return parse_spec(text, path=Path("q.circuit.yaml"))


def test_a_specification_of_reasonable_limits_has_nothing_lax() -> None:
    assert lax_of(loaded(ALL)) == ()


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("circuits/*.circuit.yaml")))
def test_nothing_is_lax_in_the_bundled_specifications(name: str) -> None:
    assert lax_of(load_spec(ROOT / "circuits" / name)) == ()


@pytest.mark.parametrize("old", LAX)
def test_a_limit_that_is_too_wide_is_named_with_what_would_pass(old: str) -> None:
    new, said = LAX[old]
    assert old in ALL

    assert lax_of(loaded(ALL.replace(old, new, 1))) == (said,)


def test_the_list_has_every_limit_that_can_be_lax() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    sides = {
        mark: ("above", mark.above) if mark.above < inf else ("below", mark.below)
        for mark in marks_of(Spec)
    }

    assert len(sides) > 10
    for mark, (side, limit) in sides.items():
        assert f"| {side} {limit:.4g} | {mark.why} |" in text


def test_limits_of_claims_that_are_not_declared_do_not_count() -> None:
    text = quote_spec(QUOTE_PATH, claims=("behaves",)).replace("rate: 0.98", "rate: 0.6")

    assert len(lax_of(loaded(text))) == 1


@pytest.mark.parametrize(
    ("slots", "distinct"),
    [
        ("a: {choice: [x]}, b: {choice: [y]}", 1),
        ("a: {integer: [1, 3]}, b: {integer: [10, 14]}", 15),
        ("a: {integer: [1, 4]}, b: {integer: [10, 13]}", 16),
        # 64 and 900 ways to fill the slots, the second of which are sampled.
        ("a: {words: {from: [z], count: [1, 8]}}, b: {words: {from: [z], count: [1, 8]}}", 15),
        ("a: {words: {from: [z], count: [1, 9]}}, b: {words: {from: [z], count: [1, 100]}}", 16),
    ],
    ids=["one", "few", "enough", "alike", "sampled"],
)
def test_few_different_pairs_prove_no_law(slots: str, distinct: int) -> None:
    text = (
        f"version: 1\ncircuit: c\nmodel: m\nbehavior:\n  prompt: '{{a}} {{b}} {{cue}}'\n"
        f"  slots: {{{slots}}}\n  contrast: {{cue: {{p: q, r: s}}}}\nablation: mean\n"
        "claims: {behaves: {rate: 0.9}}\n"
    )
    pairs = "pair" if distinct == 1 else "pairs"
    few = f"{distinct} distinct {pairs} of prompts (fewer than {FEWEST} prove no law)"

    assert lax_of(loaded(text)) == ((few,) if distinct < FEWEST else ())
