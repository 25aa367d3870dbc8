"""The directory of a model of transformers: configuration, weights in safetensors, tokenizer.

Every file is read here, within bounds, so that what is digested is what is evaluated. The library
is given a configuration and tensors, and never a place to look: it opens no file, asks no hub and
runs no code that a directory brings.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pytest_circuits.errors import ModelError, told
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.anatomy import Library, anatomy_of
from pytest_circuits.model.huggingface.attention import register
from pytest_circuits.model.huggingface.lora import is_adapter, read_adapter, refuse_both
from pytest_circuits.model.huggingface.packed import KEY as PACKED
from pytest_circuits.model.huggingface.packed import packing_of
from pytest_circuits.model.huggingface.selfcheck import (
    INSTEAD,
    branches,
    check_itself,
    shows_patterns,
)
from pytest_circuits.model.huggingface.vocabulary import TOKENIZER, Vocabulary, load_vocabulary
from pytest_circuits.model.huggingface.weights import check_memory, files_of, read_weights
from pytest_circuits.model.tensor_file import digest_tensors
from pytest_circuits.system.files import parse_json, read_bounded

CONFIG = "config.json"
_MAX_CONFIG_BYTES = 2**22
_INSTALL = "pip install 'pytest-circuits[hf]'"
Made = TypeVar("Made")
_TELLS_NOTHING = ("_name_or_path", "transformers_version", "architectures")  # of what it computes


def recognises(path: Path) -> bool:
    """Say whether a directory is one of transformers, by its configuration alone."""
    file = path / CONFIG
    if is_adapter(path):
        return True
    if not file.is_file():
        return False
    try:
        return isinstance(_said(file).get("model_type"), str)
    except ModelError:
        return False  # another adapter says what is wrong with it


def load(path: Path, *, device: torch.device) -> HuggingFaceModel:
    """Load it; ModelError says which file is wrong and how."""
    return read(path, device=device, make=model_of)


def read(path: Path, *, device: torch.device, make: Callable[..., Made]) -> Made:
    """What is made of it, as by `model_of`; ModelError says which file is wrong and how."""
    adapter = read_adapter(path) if is_adapter(path) else None
    base = adapter.base if adapter else path
    refuse_both(base)
    said = _said(base / CONFIG)
    _check_config(base / CONFIG, said)
    if find_spec("transformers") is None:
        raise ModelError(
            f"{path}: is a model of transformers ({said['model_type']}), which is not installed "
            f"here; {_INSTALL}"
        )
    with quiet():
        packing = packing_of(base / CONFIG, said)
        config, kind = _kind(base / CONFIG, {k: x for k, x in said.items() if k != PACKED})
        files = files_of(base)
        check_memory(base, files)
        tensors = read_weights(base, files)
        digest = digest_tensors(tensors, canonical(said))
        stored = max((str(t.dtype).removeprefix("torch.") for t in tensors.values()), key=len)
        if packing:
            stored, transposed = packing.name, _transposed(kind, config)
            tensors = packing.unpack(base, tensors, transposed.__contains__)
        _check_tied(base, kind, config, tensors)
        module = _module(base, kind, config, tensors)
        del tensors
        if adapter:
            adapter.merge_into(module)
            digest = digest_tensors({}, digest, adapter.digest)
            stored = f"LoRA on {stored}"
        module.requires_grad_(requires_grad=False).eval().to(device)
        texts = path if (path / TOKENIZER).exists() else base
        vocabulary = load_vocabulary(texts, rows=len(module.get_input_embeddings().weight))
        return make(
            module,
            path=path,
            vocabulary=vocabulary,
            digest=digest_tensors({}, digest, vocabulary.digest),
            device=device,
            stored=stored,
        )


def model_of(
    module: Library,
    *,
    path: Path,
    vocabulary: Vocabulary,
    digest: str,
    device: torch.device,
    stored: str,
) -> HuggingFaceModel:
    """A decoder that was made, with its sites, once it has passed its self-check."""
    cannot = f"{path}: cannot be gated: a {module.config.model_type} model"
    try:
        anatomy = anatomy_of(module, module.config)
    except ModelError as error:
        raise ModelError(f"{cannot} {error}; {INSTEAD}") from None
    except Exception as error:  # a family that is built in another way than was thought of
        raise ModelError(f"{cannot} is not built as expected; {INSTEAD}") from error
    register()
    model = HuggingFaceModel(
        path=path,
        module=module,
        anatomy=anatomy,
        vocabulary=vocabulary,
        digest=digest,
        device=device,
        stored=stored,
    )
    if not model.max_tokens:
        raise ModelError(f"{cannot} of fewer than 8 positions; prompts are padded to so many")
    try:
        check_itself(model)
        return replace(model, patterns=shows_patterns(model), branches=branches(model))
    except ModelError:
        raise
    except Exception as error:  # as above, or one that a plain forward does not run
        raise ModelError(f"{cannot} does not run as expected; {INSTEAD}") from error


def _said(file: Path) -> dict[str, Any]:
    content = read_bounded(file, max_bytes=_MAX_CONFIG_BYTES, error=ModelError)
    return parse_json(content, source=str(file), error=ModelError)


def canonical(said: Mapping[str, Any]) -> str:
    """What a configuration says, without where it came from."""
    return json.dumps({k: v for k, v in said.items() if k not in _TELLS_NOTHING}, sort_keys=True)


def _check_config(file: Path, said: Mapping[str, Any]) -> None:
    if "auto_map" in said:
        raise ModelError(
            f"{file}: asks for code of its own ('auto_map'), which is never run; where "
            f"transformers knows the model type {said['model_type']!r} itself, delete 'auto_map'"
        )


def _kind(file: Path, said: Mapping[str, Any]) -> tuple[Library, Library]:
    """The configuration and the class of a decoder, as the library has them."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  (extra)
    from transformers.models.auto.modeling_auto import (  # noqa: PLC0415  (as above)
        MODEL_FOR_CAUSAL_LM_MAPPING,
    )

    name = said["model_type"]
    if name not in CONFIG_MAPPING:
        raise ModelError(
            f"{file}: this version of transformers does not know the model type {name!r}; install "
            "a newer one"
        )
    try:
        config = CONFIG_MAPPING[name].from_dict(dict(said))
    except Exception as error:  # whatever a class makes of values that it does not expect
        raise ModelError(f"{file}: transformers cannot use it: {_first_line(error)}") from error
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(f"{file}: a {name} model is not one that continues text (a decoder)")
    return config, MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _transposed(kind: Library, config: Library) -> set[str]:
    """The modules of a decoder whose weight is [in, out]."""
    with torch.device("meta"):
        skeleton = kind(config)
    return {name for name, part in skeleton.named_modules() if type(part).__name__ == "Conv1D"}


def _module(path: Path, kind: Library, config: Library, tensors: dict[str, Tensor]) -> Library:
    try:
        module, found = kind.from_pretrained(
            None,
            config=config,
            state_dict={name: tensor.float() for name, tensor in tensors.items()},
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a class makes of what it does not expect
        raise ModelError(
            f"{path}: its weights do not fit {CONFIG}: {_first_line(error)}"
        ) from error
    problems = [f"missing tensor {name!r}" for name in sorted(found["missing_keys"])]
    problems += [f"unexpected tensor {name!r}" for name in sorted(found["unexpected_keys"])]
    problems += [f"{name!r} has another shape" for name, *_ in sorted(found["mismatched_keys"])]
    problems += map(str, found.get("error_msgs") or ())
    if problems:
        listed = "\n".join(f"  {problem}" for problem in told(problems))
        raise ModelError(f"{path}: its weights do not fit {CONFIG}:\n{listed}")
    return module


def _check_tied(path: Path, kind: Library, config: Library, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are one by the configuration and two in the files."""
    tied = getattr(kind, "_tied_weights_keys", None)
    said = getattr(config.get_text_config(), "tie_word_embeddings", False)
    if not said or not isinstance(tied, dict):
        return
    base = f"{kind.base_model_prefix}."
    for one, other in tied.items():
        first, second = (
            next((tensors[n] for n in (name, name.removeprefix(base)) if n in tensors), None)
            for name in (one, other)
        )
        if first is None or second is None:
            continue
        if first.shape != second.shape or not torch.equal(first, second):
            raise ModelError(
                f"{path}: {one!r} and {other!r} are saved twice and differ, and {CONFIG} says that "
                "they are one ('tie_word_embeddings'); save the model again, tied or not"
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Neither progress nor advice of the library while a model is loaded or written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as theirs  # noqa: PLC0415  (an extra)

        logger = logging.getLogger("transformers")
        level, shown = logger.level, theirs.is_progress_bar_enabled()
        theirs.disable_progress_bar()
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            if shown:
                theirs.enable_progress_bar()
