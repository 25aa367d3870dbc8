"""A plain transformer that the package has never heard of, with a forward and names of its own.

One file puts it behind the claims: it says what its sites and gauges are, runs tokens with a hook,
and reads its own directory. It shows no weights and compiles no circuits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from pytest_circuits.errors import ModelError
from pytest_circuits.model.protocol import Gauge, Hook, Kind, Shows, Site
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer
from pytest_circuits.system.files import read_bounded

WEIGHTS = "plain.safetensors"
HEAD = 8  # channels of a head


@dataclass(frozen=True)
class PlainModel:
    """Pre-norm blocks of attention and neurons; `hidden` are sites and gauges that it hides."""

    path: Path
    weights: Mapping[str, Tensor] = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    digest: str
    device: torch.device
    hidden: frozenset[str] = frozenset()
    max_tokens: int = 64
    description: str = "a plain transformer"

    @property
    def tokenizer_digest(self) -> str:
        return self.tokenizer.digest

    @property
    def vocab_size(self) -> int:
        return len(self.weights["embed.weight"])

    @property
    def layers(self) -> int:
        return sum(name.endswith("q.weight") for name in self.weights)

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        width = self.weights["embed.weight"].shape[1]
        found: dict[str, Site] = {}
        for n in range(self.layers):
            found |= {
                f"b{n}/in": Site(width, Kind.RESIDUAL, n, "in"),
                f"b{n}/query": Site(width, Kind.QUERY, n, "query", head=HEAD),
                f"b{n}/key": Site(width, Kind.KEY, n, "key", head=HEAD),
                f"b{n}/value": Site(width, Kind.VALUE, n, "value", head=HEAD),
                f"b{n}/heads": Site(width // HEAD, Kind.HEAD, n, "heads", channels=HEAD),
                f"b{n}/mixed": Site(width, Kind.RESIDUAL, n, "mixed", writes=True),
                f"b{n}/neurons": Site(width, Kind.NEURON, n, "neurons"),
                f"b{n}/added": Site(width, Kind.RESIDUAL, n, "added", writes=True),
            }
        found["out"] = Site(width, Kind.RESIDUAL, point="out")
        return {name: site for name, site in found.items() if name not in self.hidden}

    @cached_property
    def gauges(self) -> Mapping[str, Gauge]:
        found = {f"b{n}/looks": Gauge(Shows.PATTERN, n) for n in range(self.layers)}
        for n in range(self.layers):
            found |= {f"b{n}/scale{i}": Gauge(Shows.SCALE, n) for i in (1, 2)}
        found["scale"] = Gauge(Shows.SCALE)
        return {name: gauge for name, gauge in found.items() if name not in self.hidden}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def decode_token(self, index: int) -> str:
        return self.tokenizer.token(index)

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        self.run(tokens, hook)

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),
    ) -> Tensor:
        def see(name: str, x: Tensor) -> Tensor:
            shown = name in self.sites or name in gauges
            return hook(name, x) if hook and shown else x

        def linear(name: str, x: Tensor) -> Tensor:
            return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

        def normed(name: str, x: Tensor) -> Tensor:
            return x * see(name, (x.square().mean(-1, keepdim=True) + 1e-7).rsqrt())

        def by_head(x: Tensor) -> Tensor:  # [N, T, D] -> [N, H, T, HEAD]
            return x.view(*x.shape[:2], -1, HEAD).transpose(1, 2)

        x = self.weights["embed.weight"][tokens]
        later = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
        for n in range(self.layers):
            read = see(f"b{n}/in", normed(f"b{n}/scale1", x))
            q, k, v = (
                by_head(see(f"b{n}/{name}", linear(f"attn.{n}.{name[0]}", read)))
                for name in ("query", "key", "value")
            )
            scores = (q @ k.mT / HEAD**0.5).masked_fill(later, -torch.inf)
            looks = see(f"b{n}/looks", scores.softmax(-1))
            heads = see(f"b{n}/heads", (looks @ v).transpose(1, 2).flatten(2))
            x = x + see(f"b{n}/mixed", linear(f"attn.{n}.out", heads))
            neurons = see(f"b{n}/neurons", linear(f"mlp.{n}.up", normed(f"b{n}/scale2", x)).relu())
            x = x + see(f"b{n}/added", linear(f"mlp.{n}.down", neurons))
        logits = linear("unembed", normed("scale", see("out", x)))
        return logits if at is None else logits[torch.arange(len(at)), at]


class PlainAdapter:
    """Reads the directory of a plain model, as the entry point of a package would."""

    def recognises(self, path: Path) -> bool:
        return (path / WEIGHTS).is_file()

    def load(self, path: Path, *, device: torch.device) -> PlainModel:
        content = read_bounded(path / WEIGHTS, max_bytes=2**24, error=ModelError)
        tokenizer = load_tokenizer(path / "tokenizer.json")
        digest = hashlib.sha256(content + tokenizer.digest.encode()).hexdigest()
        return PlainModel(path, load(content), tokenizer, digest, device)


ADAPTER = PlainAdapter()
