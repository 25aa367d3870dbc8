"""Many circuits alone on the same prompts, run together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pytest_circuits.circuit.encoding import Encoder, Floats
from pytest_circuits.circuit.nodes import Nodes, places
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.compile.family import Family, Member
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.prompts.space import Pair, prompts_of
from pytest_circuits.spec.ablations import Given

LARGEST = 512  # nodes up to which circuits are compiled
_ROWS = 1 << 15  # prompt tokens of one compiled forward, over all its circuits


class Alone:
    """Circuits alone on fixed pairs, as parts of one compiled circuit that is made when needed."""

    def __init__(self, runner: Runner, pairs: Sequence[Pair]) -> None:
        self._runner, self._pairs = runner, pairs
        prompts, encoder = prompts_of(pairs), Encoder(runner.model)
        self._count = len(prompts)
        self._batches = [
            (indexes, encoder.batch([prompts[i] for i in indexes], rows=len(indexes)))
            for indexes in encoder.groups(prompts, rows=len(prompts))
        ]
        self._family: Family | None = None

    def margins(self, members: Sequence[Member]) -> Floats:
        """Margins of K circuits, [K, n, 2]."""
        union = {node for nodes, _ in members for node in nodes}
        model = self._runner.model
        if len(union) > LARGEST or not isinstance(model, SparseModel):
            # What circuits of one forward have in common up to some layer is computed once.
            order = sorted(range(len(members)), key=lambda k: places(members[k][0], model))
            views = [View.circuit(*members[k]) for k in order]
            found = self._runner.margins_many(self._pairs, views)
            return found[np.argsort(order)]
        family = self._around(union, model)
        found = np.empty((len(members), self._count))
        for indexes, batch in self._batches:
            few = max(1, _ROWS // batch.tokens.numel())
            for start in range(0, len(members), few):
                part = slice(start, start + few)
                answer, foil = family.preferences(members[part], batch).unbind(-1)
                found[part, indexes] = (answer - foil).double().cpu().numpy()
        return found.reshape(len(members), -1, 2)

    def _around(self, nodes: set[tuple[str, int]], model: SparseModel) -> Family:
        """A family that holds some nodes and not many others."""
        known = self._family
        if (
            known is None
            or not nodes <= set(known.nodes)
            or known.nodes.count > 4 * len(nodes) + 64
        ):
            runner = self._runner
            tokens = torch.cat([batch.tokens.flatten() for _, batch in self._batches])
            fill = runner.ablation.kind.fill(Given(runner.reference))
            known = Family.of(model, Nodes.gather(nodes), fill, tokens)
            self._family = known
        return known
