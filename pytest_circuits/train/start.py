"""A run that goes on from a model that is there: what that model decides of its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, nextafter
from pathlib import Path
from typing import Any

from pytest_circuits.errors import UsageError
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.model.tokenizer import load_tokenizer
from pytest_circuits.train.config import Shape, TrainConfig
from pytest_circuits.train.data.config import Vocabulary
from pytest_circuits.train.sparsity import nonzeros

_EMBEDDINGS = ("embed.weight", "unembed.weight")
_NEAR = 0.02  # densities that differ by no more are the same: counts are whole, and few in a model


def start_of(config: TrainConfig, *, base: Path) -> SparseModel | None:
    """The model that `start_from` names, relative to the folder `base`; None where it is silent.

    Raises UsageError where the configuration asks for another shape or tokenizer than the model
    has, ModelError where there is no such model.
    """
    if config.start_from is None:
        return None
    model = load_sparse_model(base / config.start_from)
    problems = [
        f"{key} is {asked!r}, the model has {has!r}"
        for key, asked, has in _asked(config, model, base)
        if asked != has
    ]
    if problems:
        raise UsageError(
            f"start_from: {config.start_from}: {'; '.join(problems)}; the model decides, so leave "
            "these keys (or the preset that sets them) out"
        )
    return model


def as_started(config: TrainConfig, model: SparseModel) -> TrainConfig:
    """The configuration with shape, tokenizer and sparsity of the model that it starts from.

    There is nothing to anneal: no matrix gets denser than the densest of its kind in the model.
    """
    shape = {key: getattr(model.config, key) for key in Shape.model_fields}
    sparsity = {
        **_densities(model),
        "anneal": "linear",
        "anneal_exponent": 1.0,
        "anneal_start": 0.0,
        "anneal_stop": 0.0,
        "embedding_anneal": "own",
    }
    tokenizer = Vocabulary(file=f"{config.start_from}/tokenizer.json")
    return config.model_copy(
        update={
            "shape": config.shape.model_copy(update=shape),
            "sparsity": config.sparsity.model_copy(update=sparsity),
            "data": config.data.model_copy(update={"tokenizer": tokenizer}),
        }
    )


def _densities(model: SparseModel) -> dict[str, float]:
    """The densities of the configuration, as the densest matrices of the model have them.

    Each is the next number above, so that rounding does not lose the count that it was made of.
    """
    parameters = dict(model.module.named_parameters())
    shares = {
        name: min(nextafter(count / parameters[name].numel(), 2.0), 1.0)
        for name, count in nonzeros(model.module).items()
    }
    return {
        "density": max(share for name, share in shares.items() if name not in _EMBEDDINGS),
        "embedding_density": max(shares[name] for name in _EMBEDDINGS),
    }


def _asked(config: TrainConfig, model: SparseModel, base: Path) -> Iterator[tuple[str, Any, Any]]:
    """What the configuration says itself, beside what the model has: key, asked for, there."""
    if "shape" in config.model_fields_set:
        for key in sorted(config.shape.model_fields_set):
            yield f"shape.{key}", getattr(config.shape, key), getattr(model.config, key)
    for key, has in _densities(model).items():
        asked = getattr(config.sparsity, key)
        if key in config.sparsity.model_fields_set and not isclose(asked, has, rel_tol=_NEAR):
            yield f"sparsity.{key}", asked, float(f"{has:.4g}")
    wanted = config.data.tokenizer
    if wanted.file is not None:
        digest = load_tokenizer(base / wanted.file).digest
        yield "the sha256 of data.tokenizer.file", digest, model.tokenizer.digest
    elif "vocab_size" in wanted.model_fields_set:
        yield "data.tokenizer.vocab_size", wanted.vocab_size, model.config.vocab_size
