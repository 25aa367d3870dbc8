"""The directory of a model of transformers, whose sites are named and not searched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from pytest_circuits.errors import ModelError
from pytest_circuits.model.handed.adapter import HandedModel, logits_of
from pytest_circuits.model.handed.hand_over import told_of
from pytest_circuits.model.handed.named import with_sites
from pytest_circuits.model.huggingface.adapter import positions_of
from pytest_circuits.model.huggingface.anatomy import Library
from pytest_circuits.model.huggingface.attention import attend_openly
from pytest_circuits.model.huggingface.directory import read
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import Shows
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import REFERENCE, read_reference_text
from pytest_circuits.model.selfcheck import some_tokens
from pytest_circuits.model.tensor_file import digest_tensors
from pytest_circuits.spec.sites import SiteAt


def load_named(path: Path, *, device: torch.device, sites: Mapping[str, SiteAt]) -> HandedModel:
    """Load it; ModelError says which file is wrong and how, or what is not as it is named.

    The means of ablation are measured here and now, on the text of the reference that lies there:
    one directory is as many models as there are ways to name its sites.
    """
    model = read(path, device=device, make=partial(_named, sites=sites))
    if not (path / REFERENCE).exists():
        return model
    text = read_reference_text(path)
    if int(text.max()) >= model.vocab_size:
        raise ModelError(f"{path / REFERENCE}: its text is of another tokenizer")
    return replace(model, reference=measure(model, text))


def _named(
    module: Library,
    *,
    path: Path,
    vocabulary: Vocabulary,
    digest: str,
    device: torch.device,
    stored: str,
    sites: Mapping[str, SiteAt],
) -> HandedModel:
    del stored  # in the digest
    module.config.get_text_config().use_cache = False  # of no use here, and much to hold
    if any(at.kind == Shows.PATTERN for at in sites.values()):
        attend_openly(module.config)
    with told_of(path), torch.no_grad():
        rows = logits_of(module, torch.zeros(1, 1, dtype=torch.long, device=device)).shape[-1]
        model = with_sites(
            module,
            sites,
            path=path,
            vocabulary=vocabulary,
            plain=logits_of(module, some_tokens(rows, device)),
            max_tokens=positions_of(module),
            digest=partial(digest_tensors, {}, digest),
        )
    return replace(model, digest_now=None)  # nobody else has its parts
