"""The text that a model is trained on, from what people have to rows of token ids.

`Data` says which sources; `prepare` turns them into token files; a `Mixture` draws rows from those.
Importing the configuration alone does not load torch: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_circuits.train.data.config import Data
    from pytest_circuits.train.data.corpus import Corpus, SourceFacts, prepare
    from pytest_circuits.train.data.mixture import Mixture
    from pytest_circuits.train.data.vocabulary import END_OF_TEXT

_PUBLIC = {
    "END_OF_TEXT": "vocabulary",
    "Corpus": "corpus",
    "Data": "config",
    "Mixture": "mixture",
    "SourceFacts": "corpus",
    "prepare": "corpus",
}

__all__ = ["END_OF_TEXT", "Corpus", "Data", "Mixture", "SourceFacts", "prepare"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
