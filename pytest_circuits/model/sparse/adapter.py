"""The weight-sparse GPT as a model with sites, gauges and wires.

Sites carry the names of the hook points of the published models, so that their circuits need no
translation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.compile.compiled import CompiledCircuit, compile_circuit
from pytest_circuits.model.protocol import Ends, Gauge, Hook, Join, Kind, Shows, Site, Wire
from pytest_circuits.model.sparse.config import POINTS, ModelConfig
from pytest_circuits.model.sparse.gpt import Access, SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.model.tree import Tree


@dataclass(frozen=True)
class SparseModel:
    """A weight-sparse GPT that was loaded; see `model.protocol` for what each part means."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    module: SparseGPT
    digest: str  # sha256 of config, tokenizer and weights
    device: torch.device
    parent: str = ""  # the same of the model that it was made from; empty: not known

    @property
    def tokenizer_digest(self) -> str:
        return self.tokenizer.digest

    @property
    def max_tokens(self) -> int:
        return self.config.max_tokens

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def description(self) -> str:
        c = self.config
        return f"{c.n_layer} layers, d_model {c.d_model}, vocabulary {c.vocab_size}"

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        return sites(self.config)

    @cached_property
    def gauges(self) -> Mapping[str, Gauge]:
        found: dict[str, Gauge] = {}
        for layer in range(self.config.n_layer):
            found[f"{layer}.attn.scale"] = Gauge(Shows.SCALE, layer)
            found[f"{layer}.attn.pattern"] = Gauge(Shows.PATTERN, layer)
            found[f"{layer}.mlp.scale"] = Gauge(Shows.SCALE, layer)
        return found | {"final_scale": Gauge(Shows.SCALE)}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self.tokenizer.spans(text)

    def decode_token(self, index: int) -> str:
        return self.tokenizer.token(index)

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),
    ) -> Tensor:
        logits: Tensor = self.module(tokens, Access(hook, gauges=frozenset(gauges)), at=at)
        return logits

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        self.module.visit(tokens, Access(hook))

    def wires(self) -> Mapping[Ends, Wire]:
        """The maps within each sublayer.

        Gao et al. 2025, section 2: an edge is a nonzero weight that joins two nodes.
        """
        return self._wires

    @cached_property
    def _wires(self) -> Mapping[Ends, Wire]:
        found = {}
        for layer, (attn, mlp) in enumerate(self.module.layers()):
            for source, target, linear in (
                ("attn.act_in", "attn.q", attn.q),
                ("attn.act_in", "attn.k", attn.k),
                ("attn.act_in", "attn.v", attn.v),
                ("attn.v", "attn.resid_delta", attn.out),
                ("mlp.act_in", "mlp.post_act", mlp.up),
                ("mlp.post_act", "mlp.resid_delta", mlp.down),
            ):
                found[f"{layer}.{source}", f"{layer}.{target}"] = Wire(linear.weight, linear)
        return found

    def run_joined(
        self, tokens: Tensor, hook: Hook, join: Join, *, at: Tensor | None, gauges: Collection[str]
    ) -> Tensor:
        logits: Tensor = self.module(tokens, Access(hook, join, frozenset(gauges)), at=at)
        return logits

    def run_shared(
        self, tree: Tree, hook: Hook | None = None, join: Join | None = None, *, rows: int = 1
    ) -> Tensor:
        return self.module.run_shared(tree, Access(hook, join), rows=rows)

    def compile(
        self,
        nodes: Mapping[str, Sequence[int]],
        edges: Mapping[Ends, Sequence[tuple[int, int]]] | None,
        fill: Mapping[str, Tensor],
    ) -> CompiledCircuit:
        listed = None if edges is None else Edges.of(edges)
        return compile_circuit(self, Nodes.of(nodes), listed, fill)

    def shuffled(self, *, seed: int) -> SparseModel:
        """The model with the entries of every weight matrix and bias in another order.

        As sparse as before, with the same values; the bigram table, which is no part of any
        circuit, is shuffled too.
        """
        rng = np.random.Generator(np.random.Philox(key=seed))
        state = {}
        for name, tensor in sorted(self.module.state_dict().items()):
            order = torch.from_numpy(rng.permutation(tensor.numel())).to(tensor.device)
            state[name] = tensor.flatten()[order].view(tensor.shape)
        module = SparseGPT(self.config)
        module.load_state_dict(state)
        module.requires_grad_(requires_grad=False).eval().to(self.device)
        return replace(self, module=module, digest=f"{self.digest} shuffled")

    def __repr__(self) -> str:
        return f"SparseModel({self.path.name}, {self.digest[:12]})"


def sites(config: ModelConfig) -> dict[str, Site]:
    """The hook points of a weight-sparse GPT, in forward order."""
    found: dict[str, Site] = {}
    for layer in range(config.n_layer):
        for sublayer, points in POINTS.items():
            for point in points:
                kind = _KINDS.get(point, Kind.RESIDUAL)
                found[f"{layer}.{sublayer}.{point}"] = Site(
                    width=config.width_at(point),
                    kind=kind,
                    layer=layer,
                    point=point,
                    head=config.d_head if kind in _OF_HEADS else 0,
                    writes=point == "resid_delta",
                )
    return found | {"final_resid": Site(config.d_model, Kind.RESIDUAL, point="final_resid")}


_OF_HEADS = frozenset({Kind.QUERY, Kind.KEY, Kind.VALUE})
_KINDS = {"q": Kind.QUERY, "k": Kind.KEY, "v": Kind.VALUE, "post_act": Kind.NEURON}
