"""From a module that other code has built to a model of the gate, or to the reason why not."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from pytest_circuits.errors import CircuitsError, ModelError
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.handed.adapter import HandedModel
from pytest_circuits.model.handed.named import with_sites
from pytest_circuits.model.handed.steady import numbers_of, refuse_unsteady, state_of
from pytest_circuits.model.handed.texts import vocabulary_of
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.anatomy import Library
from pytest_circuits.model.huggingface.directory import canonical, model_of
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import Model, prefix_of
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import text_windows, window_of
from pytest_circuits.model.tensor_file import digest_tensors
from pytest_circuits.spec.sites import SiteAt

_STEP = 8  # prompts are padded to a multiple of so many tokens, which need positions too


@own_arithmetic()
def hand_over(
    module: nn.Module,
    *,
    path: str | PathLike[str],
    tokenizer: object,
    sites: Mapping[str, SiteAt] | None = None,
    max_tokens: int | None = None,
    prefix: Sequence[int] | None = None,
    text: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
) -> Model:
    """A module from token ids [N, T] to logits [N, T, V] as a model of the gate.

    module: in eval mode, in float32, on the device of the gate; it is not to be changed after.
    path: the model directory that it stands for, as the hook is told it.
    tokenizer: a tokenizer.json or its folder, a tokenizer of `tokenizers` or a fast one of
        transformers, or an object with `encode(text)` and `decode(ids)`.
    sites: where nodes live: `{"attn.head": SiteAt("blocks.{layer}.out", "head", nodes=4)}` gives
        `0.attn.head`, `1.attn.head`, ... None: they are found, in a decoder of transformers.
    max_tokens: the longest prompt; None: as the configuration of a decoder of transformers says.
    prefix: token ids before every text; None: those that the tokenizer itself puts there.
    text: files on which the means of ablation are measured, here and now; none: the reference lies
        in `path`.

    Raises ModelError, which says what is wrong with it, where the module does not compute the same
    each time, or is not what its sites say.
    """
    path = Path(path)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{path}: {type(module).__name__} is no torch.nn.Module")
    model: HandedModel | HuggingFaceModel
    with told_of(path), torch.no_grad():
        plain = refuse_unsteady(module)
        module.requires_grad_(requires_grad=False)
        rows = plain.shape[-1]
        vocabulary = vocabulary_of(tokenizer, path=path, rows=rows, prefix=prefix)
        if sites is None:
            model = _decoder(module, path, vocabulary, plain.device, max_tokens)
        else:
            whole = with_sites(
                module,
                sites,
                path=path,
                vocabulary=vocabulary,
                plain=plain,
                max_tokens=_STEP,
                digest=partial(_digest_of, module, vocabulary),
            )
            model = replace(whole, max_tokens=_checked(max_tokens, whole))
    return _with_reference(model, [text] if isinstance(text, str | PathLike) else text)


def _with_reference(
    model: HandedModel | HuggingFaceModel, text: Sequence[str | PathLike[str]]
) -> HandedModel | HuggingFaceModel:
    if not text:
        return model
    files, length = [Path(file) for file in text], window_of(model)
    tokens = text_windows(files, model.encode, length=length, prefix=prefix_of(model))
    return replace(model, reference=measure(model, tokens))


def _decoder(
    module: nn.Module,
    path: Path,
    vocabulary: Vocabulary,
    device: torch.device,
    max_tokens: int | None,
) -> HuggingFaceModel:
    """A decoder of transformers, whose sites are found as those of a directory are."""
    if hasattr(module, "peft_config"):
        raise ModelError(
            "has an adapter of peft beside its weights; hand over what merge_and_unload() gives"
        )
    library = sys.modules.get("transformers")
    if library is None or not isinstance(module, library.PreTrainedModel):
        raise ModelError(
            f"{type(module).__name__} is no decoder of transformers, whose sites could be found; "
            "say where its nodes live, as in sites={'attn.head': "
            "SiteAt('blocks.{layer}.attn.out', 'head', nodes=4)}"
        )
    if max_tokens is not None:
        raise ModelError("max_tokens is as its configuration says; leave it out")
    digest = partial(_digest_of_decoder, module, vocabulary)
    model = model_of(
        module, path=path, vocabulary=vocabulary, digest=digest(), device=device, stored="float32"
    )
    return replace(model, digest_now=digest)


def _digest_of(module: nn.Module, vocabulary: Vocabulary, said: str) -> str:
    """Of all that a module computes with; said: what is said of it besides."""
    numbers = numbers_of(module)
    return digest_tensors(state_of(module), "handed over", numbers, said, vocabulary.digest)


def _digest_of_decoder(module: Library, vocabulary: Vocabulary) -> str:
    return _digest_of(module, vocabulary, canonical(module.config.to_dict()))


def _checked(max_tokens: int | None, model: HandedModel) -> int:
    """The longest prompt that is asked, at which the module runs."""
    if max_tokens is None or max_tokens < _STEP:
        raise ModelError(
            f"max_tokens, the longest prompt, has to be said, and be at least {_STEP}: prompts are "
            "padded to so many"
        )
    most = max_tokens // _STEP * _STEP
    model.run(torch.zeros(1, most, dtype=torch.long, device=model.device))
    return most


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Errors about a module name its path, and those of its own code the line that raised them."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        error.args = (text if text.startswith(f"{path}: ") else f"{path}: {text}",)
        raise
    except CircuitsError:
        raise
    except Exception as error:
        library = str(Path(torch.__file__).parent)
        frames = traceback.extract_tb(error.__traceback__)
        frame = [one for one in frames if not one.filename.startswith(library)][-1]
        raise ModelError(
            f"{path}: its forward raised {type(error).__name__}: {error} "
            f"({Path(frame.filename).name}:{frame.lineno})"
        ) from error
