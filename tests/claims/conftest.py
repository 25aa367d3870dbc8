"""Known-answer models, loaded once, and circuits of them on the bench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline import Recorded
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.spec.load import parse_spec
from tests.known_models import Circuit, Weights, quote_spec, write_quote_copier

MakeModel = Callable[[Weights], SparseModel]
MakeBench = Callable[..., Bench]

# As little evidence as the thresholds of the known-answer specifications can do with.
QUICK = "{pairs: 300, search: 30, controls: 39}"


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Give the model with these weights, written and loaded at most once."""
    made: dict[Weights, SparseModel] = {}

    def make(weights: Weights) -> SparseModel:
        if weights not in made:
            folder = tmp_path_factory.mktemp("known") / "model"
            made[weights] = load_sparse_model(write_quote_copier(folder, weights))
        return made[weights]

    return make


@pytest.fixture(scope="session")
def copier(make_model: MakeModel) -> SparseModel:
    """The quote copier as it is by default."""
    return make_model(Weights())


@pytest.fixture
def bench_of(copier: SparseModel, tmp_path: Path) -> MakeBench:
    """Put a circuit of a quote copier on the bench; options go to the specification."""

    def make(
        nodes: Circuit,
        model: SparseModel = copier,
        *,
        baseline: Recorded | SparseModel | None = None,
        search_seed: int | None = None,
        **options: str,
    ) -> Bench:
        options.setdefault("protocol", QUICK)
        loaded = parse_spec(quote_spec(nodes, **options), path=tmp_path / "q.circuit.yaml")
        return make_bench(loaded, model, baseline=baseline, search_seed=search_seed)

    return make
