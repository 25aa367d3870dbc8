"""What decides the last bits of a sum besides its numbers: ours while we work, and given back.

Others in the process set it for themselves, a conftest, a fixture or a notebook: a default dtype, a
precision of products, a number of threads. No verdict may depend on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.backends import cuda, cudnn, mkldnn

from pytest_circuits.model.protocol import Model

# Numbers that all sites hold of one token. A forward of 64 prompts took two threads 5.9 times the
# CPU seconds that it took one at 5 888 of them (the bundled model), 2.4 at 11 776, 1.9 at 23 552
# and 1.3 at 47 104; they fight for their cores where other processes want them too.
SMALL = 2**15
_SUBNORMAL = 2.0**-140
_PRODUCTS = (cuda.matmul, mkldnn.matmul)  # type: ignore[attr-defined]
_EXACT = {"none", "ieee"}  # of `fp32_precision`


class _Switch(NamedTuple):
    """A global value of torch, and what it is where nobody has changed it."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    ours: object


def _attribute(owner: object, name: str, *, ours: object) -> _Switch:
    return _Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), ours)


def _autocast(kind: str) -> _Switch:
    return _Switch(
        lambda: torch.is_autocast_enabled(kind),
        lambda value: torch.set_autocast_enabled(kind, value),
        ours=False,
    )


_SWITCHES = (
    _Switch(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _autocast("cpu"),
    _autocast("cuda"),
    _Switch(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, ours=0),
    _attribute(cudnn, "deterministic", ours=False),
    _attribute(cudnn, "benchmark", ours=False),
    _attribute(mkldnn, "enabled", ours=True),
    _Switch(cuda.flash_sdp_enabled, cuda.enable_flash_sdp, ours=True),
    _Switch(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, ours=True),
    _Switch(cuda.math_sdp_enabled, cuda.enable_math_sdp, ours=True),
    _Switch(cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, ours=True),
    _Switch(
        lambda: not bool(torch.tensor(_SUBNORMAL) * 1),
        torch.set_flush_denormal,
        ours=False,
    ),
)


@contextmanager
def own_arithmetic(threads: int | None = None) -> Iterator[None]:
    """Compute as torch and numpy do where nobody has changed them, and with so many threads."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_exact_products())
        stack.enter_context(_on_the_cpu())
        kept = _Switch(torch.get_num_threads, torch.set_num_threads, threads)
        for switch in (*_SWITCHES, kept) if threads else _SWITCHES:
            before = switch.read()
            if before != switch.ours:
                stack.callback(switch.write, before)
                switch.write(switch.ours)
        yield


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Tensors are made on the CPU where no device is named.

    A block `with torch.device(...)` inside another says so too, and makes each operation several
    times slower: a default device is taken away, where torch tells it from that of a block.
    """
    whole = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    with ExitStack() as stack:
        if whole is not None:
            torch.set_default_device(None)
            stack.callback(torch.set_default_device, whole.device)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of float32 are not rounded further; torch has two ways to say it, and both count."""
    before = [products.fp32_precision for products in _PRODUCTS]
    if _EXACT.issuperset(before):
        yield
        return
    try:
        whole = torch.get_float32_matmul_precision()
    except RuntimeError:  # the one way does not know what was said the other way
        whole = "highest"
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(whole)
        for products, precision in zip(_PRODUCTS, before, strict=True):
            products.fp32_precision = precision


def own_arithmetic_for(model: Model, *, most: int | None = None) -> AbstractContextManager[None]:
    """The same with the threads of a model, of at most so many; None: of all that torch takes."""
    return own_arithmetic(threads_for(model, most=most or torch.get_num_threads()))


def threads_for(model: Model, *, most: int) -> int:
    """Threads that a process computes with, of those that it may take: one, for a small model."""
    held = sum(site.width * site.channels for site in model.sites.values())
    return 1 if held <= SMALL else most
