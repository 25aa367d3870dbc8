"""Run prompts through views of a model, with one memo of forwards for all claims of a circuit.

Prompts run as trees (`trees`), of a size that depends on a prompt's length alone. So what a prompt
scores does not depend on the prompts that it runs with, on the order of the claims or on the number
of workers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.circuit.attention import Head, whole_attention
from pytest_circuits.circuit.divided import counted, evened, spread
from pytest_circuits.circuit.encoding import Batch, Encoder, Floats, floats, preferences
from pytest_circuits.circuit.interventions import Cut, apart, run_tree
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.partners import distances
from pytest_circuits.circuit.side_by_side import values_of
from pytest_circuits.circuit.trees import Grown, Trees
from pytest_circuits.circuit.view import WHOLE, Kept, View, cut_weights, keep_masks
from pytest_circuits.model.protocol import Compiled, Compiles, Divided, Ends, Model, block_of
from pytest_circuits.model.reference import Reference
from pytest_circuits.prompts.space import Pair, Prompt, prompts_of
from pytest_circuits.spec.ablations import Ablation, Given

Fill = dict[str, Tensor]

ROWS = 64  # prompts of one forward and circuit
CIRCUITS = 8  # circuits of one forward
LEAST = 256  # prompts of all circuits of a forward, where there are so many circuits
LISTS = 4  # of prompts that are remembered as trees: one view after the other is asked the same
REMEMBERED = 16  # such forwards of which it is remembered what they keep and cut
# When a compiled circuit runs in place of the ablated model. On the bundled model compiling and
# checking take as long as some 150 prompts of the ablated model, and a circuit of a third of all
# nodes runs no faster compiled.
LEAST_PROMPTS = 256
LARGEST_SHARE = 0.1  # of all nodes of the model
TOLERANCE = 1e-5  # of a logit, relative and in nats


Scores = dict[Prompt, tuple[float, float]]  # logits of answer and foil
Wholes: TypeAlias = "dict[tuple[Path, str], Whole]"  # by directory and digest


class Whole:
    """What is known of a whole model, whichever of its circuits is asked about."""

    def __init__(self, model: Model) -> None:
        self.encoder = Encoder(model)
        self.scores: Scores = {}
        self.text_losses: dict[bytes, Tensor] = {}  # of windows of text, by their tokens
        self.blocks = lru_cache(LISTS)(_blocks)


def _blocks(trees: Trees, prompts: Sequence[Prompt]) -> list[tuple[list[int], Grown]]:
    return [*trees.blocks(prompts, rows=block_of(trees.encoder.model))]


class Runner:
    """Scores prompts under views of one model and one ablation, each at most once.

    whole: shared with the runners of other circuits of the model.
    """

    def __init__(
        self,
        model: Model,
        reference: Reference,
        ablation: Ablation,
        whole: Whole | None = None,
    ) -> None:
        self.model = model
        self.measured = reference
        self.reference = spread(reference, model)
        self.ablation = ablation
        self.whole = whole or Whole(model)
        self._done = Counter[str]()
        # Prompts have to be encoded by a model that tells the places of their tokens.
        divided = isinstance(model, Divided) and self.whole.encoder.model is not model
        self._encoder = Encoder(model) if divided else self.whole.encoder
        self._scores: defaultdict[View, Scores] = defaultdict(dict)
        self._scores[WHOLE] = self.whole.scores
        self._checks: dict[View, tuple[Pair, ...]] = {}
        self._compiled: dict[View, Compiled | None] = {}
        self._runners = {ablation: self}

    def under(self, ablation: Ablation) -> Runner:
        """The same model under another ablation; they share the runs of the whole model."""
        if ablation not in self._runners:
            other = Runner(self.model, self.measured, ablation, self.whole)
            other._done, other._runners = self._done, self._runners
            other._encoder = self._encoder
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
        def masked(start: int, end: int) -> _Masked:
            return _Masked.of(views[start:end], self.model)

        for indexes, grown in self._trees.groups(prompts, rows=ROWS):
            chosen, fill = [prompts[i] for i in indexes], self._fill(grown, len(indexes))
            step = max(CIRCUITS, LEAST // len(chosen))
            for start in range(0, len(views), step):
                scores[start : start + step, indexes] = self._forward(
                    chosen, masked(start, start + step), grown, fill
                )
        return (scores[..., 0] - scores[..., 1]).reshape(len(views), len(pairs), 2)

    @torch.inference_mode()
    def signals(self, pairs: Sequence[Pair], nodes: Nodes) -> Floats:
        """Each node's activation in the whole model, token by token: [nodes, tokens].

        The columns are the tokens of the first pair's first member, of its second one, and so on. A
        node that counts at some of them has its mean there at the others, which says nothing.
        """
        prompts = prompts_of(pairs)
        lengths = [len(self._encoder.tokens(prompt)) for prompt in prompts]
        starts = np.cumsum([0, *lengths])
        signals = np.empty((nodes.count, starts[-1]))
        there = np.empty(signals.shape, dtype=np.bool_)
        for indexes in self._encoder.groups(prompts, rows=ROWS) if nodes.count else ():
            found, counts = self._record([prompts[i] for i in indexes], nodes)
            for row, i in enumerate(indexes):
                signals[:, starts[i] : starts[i + 1]] = found[row, :, : lengths[i]]
                there[:, starts[i] : starts[i + 1]] = counts[row, :, : lengths[i]]
        return signals if there.all() else evened(signals, there)

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
        for indexes, grown in self._trees.groups(prompts_of(pairs), rows=ROWS):
            fill = self._fill(grown, len(indexes))
            yield indexes, grown.batch, {name: apart(x, grown.tree) for name, x in fill.items()}

    def tokens(self, prompt: Prompt) -> tuple[str, ...]:
        return tuple(self.model.decode_token(i) for i in self._encoder.tokens(prompt))

    def _scored(self, prompts: Sequence[Prompt], view: View) -> list[tuple[float, float]]:
        known = self._scores[view]
        missing = list(dict.fromkeys(p for p in prompts if p not in known))
        if not missing:
            return [known[p] for p in prompts]
        circuit = self._compiled_view(view)
        run = (
            self._ablated(missing, view) if circuit is None else self._small(missing, view, circuit)
        )
        for indexes, scores in run:
            for index, (answer, foil) in zip(indexes, scores, strict=True):
                known[missing[index]] = (float(answer), float(foil))
        return [known[p] for p in prompts]

    def _ablated(self, prompts: Sequence[Prompt], view: View) -> Iterator[tuple[list[int], Floats]]:
        """Indexes of prompts, and their logits of answer and foil, [n, 2]."""
        masked, whole = _Masked.of([view], self.model), view == WHOLE
        trees = Trees(self._encoder) if whole else self._trees
        for indexes, grown in self.whole.blocks(trees, tuple(prompts)):
            fill = {} if whole else self._fill(grown, len(indexes))
            yield indexes, self._forward([prompts[i] for i in indexes], masked, grown, fill)[0]

    def _small(
        self, prompts: Sequence[Prompt], view: View, circuit: Compiled
    ) -> Iterator[tuple[list[int], Floats]]:
        """The same by a compiled circuit."""
        for indexes in self._encoder.groups(prompts, rows=ROWS):
            chosen = [prompts[i] for i in indexes]
            batch = self._encoder.batch(chosen, rows=ROWS)
            yield indexes, self._run_compiled(chosen, view, circuit, batch)

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
        for indexes, grown in self._trees.groups(prompts, rows=ROWS):
            chosen = [prompts[i] for i in indexes]
            ablated = self._forward(chosen, masked, grown, fill)[0]
            compiled = self._run_compiled(chosen, view, circuit, grown.batch)
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
        self, prompts: Sequence[Prompt], masked: _Masked, grown: Grown, fill: Fill
    ) -> Floats:
        """Logits of answer and foil, [K, len(prompts), 2]."""
        logits = run_tree(self.model, grown.tree, keep=masked.keep, fill=fill, cuts=masked.cuts)
        self.forwards += len(masked.views) * len(prompts)
        scores = floats(preferences(logits, grown.choices))
        return _shifted(scores[:, : len(prompts)], prompts, masked.views)

    def _record(self, prompts: Sequence[Prompt], nodes: Nodes) -> tuple[Floats, NDArray[np.bool_]]:
        """Every node's activation at every token, and whether it counts there.

        Both [len(prompts), nodes, T], padding included.
        """
        batch = self._encoder.batch(prompts, rows=len(prompts))
        found: dict[str, Tensor] = {}

        def record(name: str, x: Tensor) -> Tensor:
            if kept := nodes.at(name):
                found[name] = values_of(self.model, name, x, kept).transpose(1, 2)
            return x

        self.model.visit(batch.tokens, record)
        self.forwards += len(prompts)
        there = [
            counted(self.model, hook, batch.tokens, batch.last)[:, None].expand(-1, count, -1)
            for hook, count in nodes.shape.items()
        ]
        signals = torch.cat([found[hook] for hook in nodes.shape], dim=1)
        return floats(signals), torch.cat(there, dim=1).cpu().numpy()

    @property
    def _trees(self) -> Trees:
        return Trees.of(self._encoder, self.reference, self.ablation.kind)

    def _fill(self, grown: Grown, count: int) -> Fill:
        """What an ablated activation becomes in a tree of so many prompts."""
        if grown.partners:
            self.forwards += count
        return grown.fill(self.model, self.reference, self.ablation.kind)


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
