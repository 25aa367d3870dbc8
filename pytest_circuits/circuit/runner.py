"""Run prompts through views of a model, with one memo of forwards for all claims of a circuit.

Prompts run in batches of a fixed number of rows, padded on the right to a length that depends on
the prompt alone. So what a prompt scores does not depend on the prompts that it runs with, on the
order of the claims or on the number of workers.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.circuit.attention import Head, whole_attention
from pytest_circuits.circuit.encoding import Batch, Encoder, Floats, floats
from pytest_circuits.circuit.interventions import Cut, run_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.partners import distances, from_partners
from pytest_circuits.circuit.side_by_side import values_of
from pytest_circuits.circuit.view import WHOLE, Kept, View, cut_weights, keep_masks
from pytest_circuits.model.protocol import Compiled, Compiles, Ends, Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.prompts.space import Pair, Prompt, prompts_of
from pytest_circuits.spec.ablations import Ablation, Given

Fill = dict[str, Tensor]

ROWS = 64  # prompts of one forward and circuit
CIRCUITS = 8  # circuits of one forward
REMEMBERED = 16  # such forwards of which it is remembered what they keep and cut
# When a compiled circuit runs in place of the ablated model. On the bundled model compiling and
# checking take as long as some 150 prompts of the ablated model, and a circuit of a third of all
# nodes runs no faster compiled.
LEAST_PROMPTS = 256
LARGEST_SHARE = 0.1  # of all nodes of the model
TOLERANCE = 1e-5  # of a logit, relative and in nats


class Runner:
    """Scores prompts under views of one model and one ablation, each at most once."""

    def __init__(self, model: Model, reference: Reference, ablation: Ablation) -> None:
        self.model = model
        self.reference = reference
        self.ablation = ablation
        self._done = Counter[str]()
        self._encoder = Encoder(model)
        self._scores: defaultdict[View, dict[Prompt, tuple[float, float]]] = defaultdict(dict)
        self._checks: dict[View, tuple[Pair, ...]] = {}
        self._compiled: dict[View, Compiled | None] = {}
        self._runners = {ablation: self}

    def under(self, ablation: Ablation) -> Runner:
        """The same model under another ablation; they share the runs of the whole model."""
        if ablation not in self._runners:
            other = Runner(self.model, self.reference, ablation)
            other._done, other._encoder, other._runners = self._done, self._encoder, self._runners
            other._scores[WHOLE] = self._scores[WHOLE]
            self._runners[ablation] = other
        return self._runners[ablation]

    @property
    def forwards(self) -> int:
        """Prompt-forwards of the model done so far, under whatever ablation."""
        return self._done["forwards"]

    @forwards.setter
    def forwards(self, done: int) -> None:
        self._done["forwards"] = done

    @property
    def compiled(self) -> int:
        """Prompts that compiled circuits ran instead."""
        return self._done["compiled"]

    def expect(self, view: View, *, prompts: int, check: Sequence[Pair]) -> None:
        """Announce how many prompts a view will be asked, before it is asked any.

        Where that pays, the view runs as a compiled circuit, provided that on the pairs of `check`
        this gives the logits of the ablated model. Both have to be given by the specification:
        rounding shows in evidence, so that how a view runs must not depend on what happens to be
        asked first.
        """
        nodes = sum(site.width for site in self.model.sites.values())
        if (
            isinstance(self.model, Compiles)
            and view.kept is Kept.NODES
            and self.ablation.kind.constant
            and prompts >= LEAST_PROMPTS
            and view.nodes.count <= LARGEST_SHARE * nodes
        ):
            self._checks[view] = tuple(check)

    def margins(self, pairs: Sequence[Pair], view: View) -> Floats:
        """Logit of the answer minus logit of the foil, in nats: [n, 2], both members of n pairs."""
        scores = self._scored(prompts_of(pairs), view)
        return np.asarray([a - f for a, f in scores], dtype=np.float64).reshape(len(pairs), 2)

    def logits(self, prompt: Prompt, view: View) -> tuple[float, float]:
        return self._scored([prompt], view)[0]

    def margins_many(self, pairs: Sequence[Pair], views: Sequence[View]) -> Floats:
        """Margins of many views at once, [K, n, 2]; K circuits share one forward, none is kept."""
        prompts = prompts_of(pairs)
        scores = np.empty((len(views), len(prompts), 2))

        @lru_cache(REMEMBERED)
        def masked(start: int) -> _Masked:
            return _Masked.of(views[start : start + CIRCUITS], self.model)

        for indexes in self._groups(prompts):
            chosen = [prompts[i] for i in indexes]
            batch = self._encoder.batch(chosen, rows=len(chosen))
            fill = self._fill(chosen, batch)
            for start in range(0, len(views), CIRCUITS):
                chunk = slice(start, start + CIRCUITS)
                scores[chunk, indexes] = self._forward(chosen, masked(start), batch, fill)
        return (scores[..., 0] - scores[..., 1]).reshape(len(views), len(pairs), 2)

    @torch.inference_mode()
    def signals(self, pairs: Sequence[Pair], nodes: Nodes) -> Floats:
        """Each node's activation in the whole model, token by token: [nodes, tokens].

        The columns are the tokens of the first pair's first member, of its second one, and so on.
        """
        prompts = prompts_of(pairs)
        lengths = [len(self._encoder.tokens(prompt)) for prompt in prompts]
        starts = np.cumsum([0, *lengths])
        signals = np.empty((nodes.count, starts[-1]))
        for indexes in self._encoder.groups(prompts, rows=ROWS) if nodes.count else ():
            found = self._record([prompts[i] for i in indexes], nodes)
            for row, i in enumerate(indexes):
                signals[:, starts[i] : starts[i + 1]] = found[row, :, : lengths[i]]
        return signals

    def apart(self, pairs: Sequence[Pair], nodes: Nodes) -> Floats:
        """How far each node of the whole model is at most from the ablation's value, [nodes]."""
        found = np.zeros(nodes.count)
        for indexes, batch, fill in self.batches(pairs) if nodes.count else ():
            here = distances(self.model, batch, fill, nodes)
            self.forwards += len(indexes)
            found = np.maximum(found, floats(here))
        return found

    @torch.inference_mode()
    def attention(self, pairs: Sequence[Pair], heads: Sequence[Head]) -> Floats:
        """What heads attend to from a prompt's last token, in the whole model.

        Returns [heads, 2n, T], with zeros after the end of shorter prompts.
        """
        prompts = prompts_of(pairs)
        longest = max(len(self._encoder.tokens(prompt)) for prompt in prompts)
        found = np.zeros((len(heads), len(prompts), longest))
        for indexes in self._encoder.groups(prompts, rows=ROWS) if heads else ():
            batch = self._encoder.batch([prompts[i] for i in indexes], rows=len(indexes))
            weights = whole_attention(self.model, batch.tokens, batch.last, heads)
            here = floats(weights[..., :longest])
            found[:, indexes, : here.shape[2]] = here
            self.forwards += len(indexes)
        return found

    def batches(self, pairs: Sequence[Pair]) -> Iterator[tuple[list[int], Batch, Fill]]:
        """Both members of pairs in batches, for runs of another kind than views.

        Gives the prompts' indexes (those of pair i are 2i and 2i + 1), the batch, and what an
        ablated activation becomes in it.
        """
        prompts = prompts_of(pairs)
        for indexes in self._groups(prompts):
            chosen = [prompts[i] for i in indexes]
            batch = self._encoder.batch(chosen, rows=len(chosen))
            yield indexes, batch, self._fill(chosen, batch)

    def tokens(self, prompt: Prompt) -> tuple[str, ...]:
        return tuple(self.model.decode_token(i) for i in self._encoder.tokens(prompt))

    def _scored(self, prompts: Sequence[Prompt], view: View) -> list[tuple[float, float]]:
        known = self._scores[view]
        missing = list(dict.fromkeys(p for p in prompts if p not in known))
        if not missing:
            return [known[p] for p in prompts]
        circuit, masked = self._compiled_view(view), _Masked.of([view], self.model)
        whole = view == WHOLE
        for indexes in self._encoder.groups(missing, rows=ROWS) if whole else self._groups(missing):
            chosen = [missing[i] for i in indexes]
            batch = self._encoder.batch(chosen, rows=ROWS)
            if circuit is None:
                fill = {} if whole else self._fill(chosen, batch)
                scores = self._forward(chosen, masked, batch, fill)[0]
            else:
                scores = self._run_compiled(chosen, view, circuit, batch)
            for prompt, (answer, foil) in zip(chosen, scores, strict=True):
                known[prompt] = (float(answer), float(foil))
        return [known[p] for p in prompts]

    def _compiled_view(self, view: View) -> Compiled | None:
        """The compiled circuit that a view runs as; None: it runs as the ablated model."""
        if view not in self._compiled:
            self._compiled[view] = self._checked(view) if view in self._checks else None
        return self._compiled[view]

    def _checked(self, view: View) -> Compiled | None:
        if not isinstance(self.model, Compiles):
            return None
        edges = None if view.edges is None else dict(view.edges.pairs)
        fill = self.ablation.kind.fill(Given(self.reference))
        circuit = self.model.compile(dict(view.nodes.channels), edges, fill)
        prompts, masked = prompts_of(self._checks[view]), _Masked.of([view], self.model)
        for indexes in self._groups(prompts):
            chosen = [prompts[i] for i in indexes]
            batch = self._encoder.batch(chosen, rows=len(chosen))
            ablated = self._forward(chosen, masked, batch, fill)[0]
            compiled = self._run_compiled(chosen, view, circuit, batch)
            if not agree(compiled, ablated):
                return None
        return circuit

    def _run_compiled(
        self, prompts: Sequence[Prompt], view: View, circuit: Compiled, batch: Batch
    ) -> Floats:
        """Logits of answer and foil, [len(prompts), 2]."""
        self._done["compiled"] += len(prompts)
        logits = circuit.preferences(batch.tokens, batch.last, batch.choices)
        scores = floats(logits)
        return _shifted(scores[None, : len(prompts)], prompts, [view]).squeeze(0)

    @torch.inference_mode()
    def _forward(
        self, prompts: Sequence[Prompt], masked: _Masked, batch: Batch, fill: Fill
    ) -> Floats:
        """Logits of answer and foil, [K, len(prompts), 2]."""
        views = masked.views
        if list(views) == [WHOLE]:
            logits = self.model.run(batch.tokens, at=batch.last)[None]  # [1, ROWS, V]
        else:
            logits = run_circuits(
                self.model,
                batch.tokens,
                at=batch.last,
                keep=masked.keep,
                fill=fill,
                cuts=masked.cuts,
            )
        self.forwards += len(views) * len(prompts)
        scores = floats(batch.preferences(logits))
        return _shifted(scores[:, : len(prompts)], prompts, views)

    def _record(self, prompts: Sequence[Prompt], nodes: Nodes) -> Floats:
        """Every node's activation at every token, padding included: [len(prompts), nodes, T]."""
        batch = self._encoder.batch(prompts, rows=len(prompts))
        found: dict[str, Tensor] = {}

        def record(name: str, x: Tensor) -> Tensor:
            if kept := nodes.at(name):
                found[name] = values_of(self.model, name, x, kept).transpose(1, 2)
            return x

        self.model.visit(batch.tokens, record)
        self.forwards += len(prompts)
        return floats(torch.cat([found[hook] for hook in nodes.shape], dim=1))

    def _groups(self, prompts: Sequence[Prompt]) -> Iterator[list[int]]:
        """Prompts that can share a batch, and their partners if the ablation needs them."""
        return self._encoder.groups(prompts, rows=ROWS, partners=self.ablation.kind.from_partner)

    def _fill(self, prompts: Sequence[Prompt], batch: Batch) -> Fill:
        """What an ablated activation becomes in a batch that begins with these prompts."""
        if self.ablation.kind.from_partner:
            partners = self._encoder.partners(prompts, batch)
            self.forwards += len(prompts)
            values = from_partners(self.model, partners, self.reference.mean)
            return self.ablation.kind.fill(Given(self.reference, partner=values))
        size = len(next(iter(self.reference.bank.values())))
        picks = torch.zeros(len(batch.tokens), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            picks[row] = int.from_bytes(hashlib.sha256(prompt.text.encode()).digest()[:8]) % size
        return self.ablation.kind.fill(Given(self.reference, picks))


@dataclass(frozen=True, slots=True)
class _Masked:
    """Views that run together, and what they keep and cut: the same in every batch."""

    views: Sequence[View]
    keep: dict[str, Tensor]
    cuts: dict[Ends, Cut]

    @classmethod
    def of(cls, views: Sequence[View], model: Model) -> _Masked:
        return cls(views, keep_masks(views, model), cut_weights(views, model))


def agree(compiled: Floats, ablated: Floats) -> bool:
    """Whether two runs gave the same logits; what is not a number agrees with nothing."""
    return bool(np.allclose(compiled, ablated, rtol=TOLERANCE, atol=TOLERANCE))


def _shifted(scores: Floats, prompts: Sequence[Prompt], views: Sequence[View]) -> Floats:
    """Logits [K, B, 2] with what each view adds to them."""
    if all(view.shift is None for view in views):
        return scores
    return scores + np.array([[v.added(p) for p in prompts] for v in views], dtype=np.float64)
