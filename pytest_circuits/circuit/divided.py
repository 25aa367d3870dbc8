"""A model divided by places: a site at which nodes count at some tokens is there once for each.

So what is said of sites holds of places: masks, parts of the rest, random circuits. What is inside
and what is outside of a circuit are divided alike, and each is exactly what the other is not.

Letters in shapes: N rows, T tokens, D channels of a site.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.circuit.encoding import Floats
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.errors import SpecError
from pytest_circuits.model.protocol import Divided, Gauge, Hook, Model, Site
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.spelling import spans_of
from pytest_circuits.prompts.places import Places
from pytest_circuits.spec.places import divide, divided, roles_at, site_of
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.types import Spec

NOWHERE = -1  # a token of what is no prompt of the behavior


def nodes_of(spec: Spec) -> Nodes:
    """The nodes of a specification, at places where it names some."""
    return Nodes.of(divide(spec.nodes))


def by_place(model: Model, spec: Spec) -> Model:
    """The model with its sites divided by the places that a specification names, if there are any.

    Of the weights between sites, and of prompts that begin alike, it makes nothing.
    """
    roles = roles_at(spec.nodes)
    if not roles:
        return model
    known = {site: named for site, named in roles.items() if site in model.sites}
    return DividedModel(model, Places.of(spec, known))


def spread(reference: Reference, model: Model) -> Reference:
    """A reference with what it says of a site said of each of its places."""
    if not isinstance(model, Divided):
        return reference

    def every(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**values, **{name: values[site_of(name)] for name in model.sites}}

    return replace(
        reference,
        mean=every(reference.mean),
        std=every(reference.std),
        bank=every(reference.bank),
    )


def counted(model: Model, name: str, tokens: Tensor, last: Tensor) -> Tensor:
    """At which tokens of prompts [N, T], ending at `last` [N], nodes of a site count: [N, T]."""
    real = torch.arange(tokens.shape[1], device=tokens.device) <= last[:, None]
    return real & model.there(name, tokens, last) if isinstance(model, Divided) else real


def evened(signals: Floats, there: NDArray[np.bool_]) -> Floats:
    """Signals [nodes, tokens] with the mean of each where it does not count: that says nothing."""
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    mean = np.where(there, signals, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(there, signals, mean)


@dataclass(frozen=True, eq=False)
class DividedModel:
    """See `model.protocol` for what each part means.

    Where in a prompt a token stands, its text says: `encode` remembers what it was asked. In texts
    that are no prompt of the behavior, a node is ablated at all tokens if it is at any place.
    """

    undivided: Model
    places: Places
    _texts: dict[tuple[int, ...], str] = field(default_factory=dict, repr=False)
    _known: dict[tuple[int, ...], Mapping[str, tuple[int, ...]] | None] = field(
        default_factory=dict, repr=False
    )

    @property
    def path(self) -> Path:
        return self.undivided.path

    @property
    def digest(self) -> str:
        return self.undivided.digest

    @property
    def tokenizer_digest(self) -> str:
        return self.undivided.tokenizer_digest

    @property
    def device(self) -> torch.device:
        return self.undivided.device

    @property
    def max_tokens(self) -> int:
        return self.undivided.max_tokens

    @property
    def vocab_size(self) -> int:
        return self.undivided.vocab_size

    @property
    def description(self) -> str:
        return self.undivided.description

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        roles = self.places.roles
        return {
            each: site
            for name, site in self.undivided.sites.items()
            for each in (divided(name, roles[name]) if name in roles else (name,))
        }

    @property
    def gauges(self) -> Mapping[str, Gauge]:
        return self.undivided.gauges

    def encode(self, text: str) -> list[int]:
        ids = self.undivided.encode(text)
        other = self._texts.setdefault(tuple(ids), text)
        if other != text and self._places_in(other) != self._places_in(text):
            raise SpecError(
                f"{quoted(text)} and {quoted(other)} are the same tokens, with the cue or a slot "
                "at other ones"
            )
        return ids

    def decode_token(self, index: int) -> str:
        return self.undivided.decode_token(index)

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),
    ) -> Tensor:
        own = None if hook is None else self._dividing(hook, tokens, at)
        return self.undivided.run(tokens, own, at=at, gauges=gauges)

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        self.undivided.visit(tokens, self._dividing(hook, tokens, None))

    def there(self, name: str, tokens: Tensor, at: Tensor) -> Tensor:
        site = site_of(name)
        if site not in self.places.roles:
            return torch.ones_like(tokens, dtype=torch.bool)
        place = divided(site, self.places.roles[site]).index(name)
        numbers = self._numbers(tokens, at)[site]
        return (numbers == place) | (numbers == NOWHERE)

    def _dividing(self, hook: Hook, tokens: Tensor, at: Tensor | None) -> Hook:
        """A hook that has another one at each place of a site in turn, and takes its tokens."""
        numbers = self._numbers(tokens, at)

        def own(name: str, x: Tensor) -> Tensor:
            roles = self.places.roles.get(name)
            if roles is None:
                return hook(name, x)
            here = numbers[name]  # [N, T]
            if x.shape[1] != here.shape[1] and at is not None:  # the asked tokens alone
                here = here.gather(1, at[:, None])
            for place, each in enumerate(divided(name, roles)):
                chosen = (here == place) | (here == NOWHERE)
                x = torch.where(chosen[..., None], hook(each, x), x)
            return x

        return own

    def _numbers(self, tokens: Tensor, at: Tensor | None) -> dict[str, Tensor]:
        """By site the number of the place of each token, [N, T]; NOWHERE in what is no prompt."""
        rows: list[list[int]] = tokens.tolist()
        ends = [NOWHERE] * len(rows) if at is None else at.tolist()
        prompts = [tuple(row[: end + 1]) for row, end in zip(rows, ends, strict=True)]
        different = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
        each = torch.tensor([different[prompt] for prompt in prompts], device=tokens.device)
        places, found = [self._of(prompt) for prompt in different], {}
        for site in self.places.roles:
            numbers = []
            for known in places:
                mine = known[site] if known else ()
                numbers.append((*mine, *[NOWHERE] * (tokens.shape[1] - len(mine))))
            found[site] = torch.tensor(numbers, device=tokens.device)[each]
        return found

    def _of(self, ids: tuple[int, ...]) -> Mapping[str, tuple[int, ...]] | None:
        if ids not in self._known:
            if ids not in self._texts:
                return None
            self._known[ids] = self._places_in(self._texts[ids])
        return self._known[ids]

    def _places_in(self, text: str) -> Mapping[str, tuple[int, ...]] | None:
        return self.places.within(text, spans_of(self.undivided, text))
