"""Whether a module computes the same whenever it is asked, before anything else is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from pytest_circuits.errors import ModelError
from pytest_circuits.model.handed.adapter import logits_of
from pytest_circuits.model.selfcheck import near, some_tokens

_OF_EVERY_MODULE = vars(nn.Module()).keys()
_DEEPEST = 8  # lists in lists, of which some hold themselves
_DROPOUT = nn.modules.dropout._DropoutNd  # noqa: SLF001  (the only name of all kinds of it)


def refuse_unsteady(module: nn.Module) -> Tensor:
    """Logits of `some_tokens`; ModelError where a second forward would give other ones."""
    _check_modes(module)
    device = _device(module)
    rows = logits_of(module, torch.zeros(1, 1, dtype=torch.long, device=device)).shape[-1]
    tokens = some_tokens(rows, device)
    before = {name: tensor.clone() for name, tensor in state_of(module).items()}
    first, second = logits_of(module, tokens), logits_of(module, tokens)
    for name, tensor in state_of(module).items():
        if name not in before or not torch.equal(before[name], tensor):
            raise ModelError(
                f"changes {name!r} whenever it runs, so that what it says depends on what was "
                "asked before; hand over a module whose forward leaves its state alone"
            )
    far = float((first - second).abs().max())
    if not far <= (0.0 if device.type == "cpu" else near(first)):
        raise ModelError(
            f"gives other logits for the same tokens when it runs a second time (by {far:.2g}); "
            "turn off what is drawn at random, and what it remembers of earlier calls"
        )
    return first


def _check_modes(module: nn.Module) -> None:
    if module.training:
        raise ModelError(f"is in train mode ({type(module).__name__}); call .eval() on it")
    for name, part in module.named_modules():
        if part.training:
            at_random = "drops out at random: " * isinstance(part, _DROPOUT)
            raise ModelError(f"{at_random}{name} of it is in train mode; call .eval() on it")


def _device(module: nn.Module) -> torch.device:
    """Where it computes: in float32, with all of it in one place."""
    first = next((tensor.device for tensor in state_of(module).values()), torch.device("cpu"))
    for name, tensor in state_of(module).items():
        if tensor.device != first:
            raise ModelError(f"is on {first}, and {name!r} of it on {tensor.device}; move it")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(
                f"computes in {kind} ({name}); call .float() on it: 16-bit weights are evaluated "
                "as the numbers that they are"
            )
        if isinstance(tensor, nn.Parameter) and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"holds NaN or infinity in {name!r}")
    return first


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """All tensors that a module computes with, by name: parameters, buffers and plain attributes.

    Those in lists, tuples and dictionaries are among them.

    ModelError where some are kept as what no digest can see into.
    """
    found: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    found |= dict(module.named_buffers(remove_duplicate=False))
    if hidden := sorted(module.state_dict().keys() - found.keys()):
        raise ModelError(
            f"keeps {hidden[0]!r} neither as a parameter nor as a buffer, so that its digest would "
            "not be of all its weights; hand over one whose weights are not packed"
        )
    found |= {name: x for name, x in _attributes(module) if isinstance(x, Tensor)}
    for name, tensor in found.items():
        if type(tensor) not in {Tensor, nn.Parameter, nn.Buffer}:
            raise ModelError(
                f"holds {name!r} as a {type(tensor).__name__}: packed weights are evaluated as the "
                "numbers that they stand for alone; hand over a dequantized copy of it"
            )
    return found


def numbers_of(module: nn.Module) -> str:
    """The numbers among the attributes of a module and its parts, such as the epsilon of a norm.

    And of each part whether it is in train mode.
    """
    found = {
        name: x
        for name, x in _attributes(module)
        if isinstance(x, int | float) and not name.rpartition(".")[2].startswith("_")
    }
    found |= {f"{name}.training": part.training for name, part in module.named_modules()}
    return repr(sorted(found.items()))


def _attributes(module: nn.Module) -> Iterator[tuple[str, object]]:
    """What the parts of a module keep by themselves, and what is in that, by name."""
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            if key not in _OF_EVERY_MODULE:
                yield from _inside(value, f"{name}.{key}" if name else key, depth=0)


def _inside(value: object, name: str, *, depth: int) -> Iterator[tuple[str, object]]:
    within: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        within = value.items()
    elif isinstance(value, list | tuple):
        within = enumerate(value)
    else:
        yield name, value
    if depth < _DEEPEST:
        for key, inner in within:
            yield from _inside(inner, f"{name}.{key}", depth=depth + 1)
