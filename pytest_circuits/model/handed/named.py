"""The places of a module that its owner names: found, met by a forward, and put to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pytest_circuits.errors import SiteError
from pytest_circuits.model.handed.adapter import HandedModel, Place, logits_of
from pytest_circuits.model.huggingface.anatomy import is_norm
from pytest_circuits.model.huggingface.attention import attends_openly
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import Gauge, Hook, Kind, Shows, Site
from pytest_circuits.model.selfcheck import (
    Check,
    as_weights,
    common_checks,
    hold,
    near,
    some_tokens,
    zero,
)
from pytest_circuits.spec.problems import listed, quoted
from pytest_circuits.spec.sites import GAUGES, KINDS, SiteAt

_LAYER = "{layer}"


@dataclass(frozen=True, slots=True)
class _Named:
    """A site that the owner of a module names, at a part that is there."""

    name: str
    point: str
    layer: int | None
    at: SiteAt
    place: Place

    def wrong(self, problem: str, *key: str) -> SiteError:
        return SiteError(f"{quoted(self.name)}: {problem}", self.point, *key)

    @property
    def is_gauge(self) -> bool:
        return self.at.kind in GAUGES

    @property
    def gauge(self) -> Gauge:
        return Gauge(Shows(self.at.kind), self.layer)

    def check_shape(self, shape: object, tokens: Tensor) -> None:
        """Refuse what is no activation of tokens [N, T], or no attention of them."""
        rows, length = tokens.shape
        expected, axes = (
            ("attention [rows, heads, tokens, tokens]", (rows, None, length, length))
            if self.at.kind == Shows.PATTERN
            else ("an activation [rows, tokens, channels]", (rows, length, None))
        )
        if (
            not isinstance(shape, list)
            or len(shape) != len(axes)
            or any(axis not in {None, found} for axis, found in zip(axes, shape, strict=True))
        ):
            raise self.wrong(f"expected {expected}, got {shape}")

    def site(self, channels: int) -> Site:
        nodes, head = self.at.nodes or channels, self.at.head
        if nodes < 1 or channels % nodes or (head and nodes % head):
            heads = f" of heads of {head}" if head else ""
            raise self.wrong(f"{channels} channels cannot be {nodes} nodes{heads}", "nodes")
        kind, size = Kind(self.at.kind), channels // nodes
        return Site(nodes, kind, self.layer, self.point, head=head, channels=size)


def with_sites(
    module: nn.Module,
    sites: Mapping[str, SiteAt],
    *,
    path: Path,
    vocabulary: Vocabulary,
    plain: Tensor,
    max_tokens: int,
    digest: Callable[[str], str],
) -> HandedModel:
    """A module whose sites are named, held to what is said of them; plain: its logits.

    digest: of the module and what is said of its sites.
    """
    tokens = some_tokens(plain.shape[-1], plain.device)
    every, looked_at = met(module, list(places(module, sites)), tokens)
    said = repr((sorted(sites.items()), [(name, site) for name, (site, _) in every.items()]))
    model = HandedModel(
        path=path,
        module=module,
        every=every,
        looked_at=looked_at,
        vocabulary=vocabulary,
        digest=digest(said),
        digest_now=partial(digest, said),
        device=plain.device,
        vocab_size=plain.shape[-1],
        max_tokens=max_tokens,
    )
    hold(checks_of(model, tokens, plain), cannot=f"{path}: cannot be gated: ")
    return model


def places(module: nn.Module, sites: Mapping[str, SiteAt]) -> Iterator[_Named]:
    """Each site that is named, at each layer where its part is there."""
    parts = dict(module.named_modules())
    for point, at in sites.items():
        if at.kind not in KINDS:
            known = listed(KINDS)
            raise SiteError(f"{quoted(point)}: no kind {quoted(at.kind)}; known: {known}", point)
        layers = range(len(parts)) if _LAYER in at.module else (None,)
        paths = ((layer, at.module.replace(_LAYER, str(layer))) for layer in layers)
        there = [(layer, path) for layer, path in paths if path in parts]
        if not there:
            missing, some = at.module.replace(_LAYER, "0"), listed([*parts][1:20])
            raise SiteError(
                f"{quoted(point)}: {type(module).__name__} has no part {quoted(missing)}; "
                f"it has {some}",
                point,
                "module",
            )
        for layer, path in there:
            name = point if layer is None else f"{layer}.{point}"
            place = Place(
                parts[path],
                at.output,
                of_norm=at.kind == Shows.SCALE,
                of_heads=at.kind == Shows.PATTERN and attends_openly(parts[path]),
            )
            named = _Named(name, point, layer, at, place)
            if place.of_norm and not is_norm(parts[path]):
                kind = type(parts[path]).__name__
                problem = f"a {kind} is no norm whose scale is known: LayerNorm or RMSNorm"
                raise named.wrong(problem, "module")
            yield named


def met(
    module: nn.Module, named: Sequence[_Named], tokens: Tensor
) -> tuple[dict[str, tuple[Site, Place]], dict[str, tuple[Gauge, Place]]]:
    """The sites and gauges in the order in which a forward meets them, each of them once."""
    if all(one.is_gauge for one in named):
        raise SiteError("none is named, at which nodes could live")
    seen: list[tuple[_Named, object]] = []

    def recorder(one: _Named) -> Callable[[Tensor], Tensor]:
        def record(x: Tensor) -> Tensor:
            seen.append((one, list(x.shape) if isinstance(x, Tensor) else type(x).__name__))
            return x

        return record

    with ExitStack() as stack:
        for one in named:
            stack.callback(one.place.look(recorder(one)).remove)
        logits_of(module, tokens)
    for one in named:
        shapes = [shape for other, shape in seen if other is one]
        if not shapes:
            raise one.wrong("a forward never comes there")
        if len(shapes) > 1:
            raise one.wrong(f"a forward comes there {len(shapes)} times, and may once")
        one.check_shape(shapes[0], tokens)
    channels = [(one, int(shape[-1])) for one, shape in seen if isinstance(shape, list)]
    return (
        {one.name: (one.site(width), one.place) for one, width in channels if not one.is_gauge},
        {one.name: (one.gauge, one.place) for one, _ in channels if one.is_gauge},
    )


def checks_of(model: HandedModel, tokens: Tensor, plain: Tensor) -> Iterator[Check]:
    yield from common_checks(model, tokens, plain)
    for name, (site, place) in model.every.items():
        moved = model.run(tokens, zero(name, slice(0, site.width * site.channels)))
        if float((moved - plain).abs().max()) <= near(plain) / 100:
            raise SiteError(
                f"{quoted(name)}: nothing reads what is there: all of it at zero changes no logit",
                site.point,
            )
        if isinstance(place.part, nn.Linear) and not place.output:
            yield from as_weights(model, tokens, name, place.part)
    yield from _gauges(model, tokens, plain)


def _gauges(model: HandedModel, tokens: Tensor, plain: Tensor) -> Iterator[Check]:
    """Each gauge is what it is said to be, and what is put in its place counts."""
    for name, (gauge, _) in model.looked_at.items():
        seen: list[Tensor] = []

        def look(met: str, x: Tensor, name: str = name, seen: list[Tensor] = seen) -> Tensor:
            if met != name:
                return x
            seen.append(x)
            return x.clone()

        yield (
            f"{name} that stays as it is changes nothing",
            model.run(tokens, look, gauges=(name,)),
            plain,
        )
        moved = model.run(tokens, _halved(name), gauges=(name,))
        if float((moved - plain).abs().max()) <= near(plain) / 100:
            point = name if gauge.layer is None else name.partition(".")[2]
            raise SiteError(f"{quoted(name)}: nothing reads it: half of it changes no logit", point)
        if gauge.shows is Shows.PATTERN:
            later = torch.ones(tokens.shape[1], tokens.shape[1], device=tokens.device).triu(1)
            excess = (seen[0].sum(-1) - 1).clamp(min=0) + seen[0].clamp(max=0).abs().sum(-1)
            nothing = torch.zeros(1, device=tokens.device)
            yield f"a row of {name} is a share of attention, at most 1", excess, nothing
            yield f"no token of {name} sees a later one", seen[0] * later, nothing


def _halved(name: str) -> Hook:
    return lambda met, x: x / 2 if met == name else x
