"""Settings of torch and numpy as nobody expects them, each for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.backends import cuda, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel

PRODUCTS = cuda.matmul, mkldnn.matmul  # type: ignore[attr-defined]
Setting: TypeAlias = Callable[[], AbstractContextManager[object]]


@contextmanager
def _written(write: Callable[[Any], object], odd: object, usual: object) -> Iterator[None]:
    write(odd)
    try:
        yield
    finally:
        write(usual)


@contextmanager
def _one_product(precision: str) -> Iterator[None]:
    before = [products.fp32_precision for products in PRODUCTS]
    PRODUCTS[1].fp32_precision = precision
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        for products, usual in zip(PRODUCTS, before, strict=True):
            products.fp32_precision = usual


ODD: dict[str, Setting] = {
    "default dtype": lambda: _written(torch.set_default_dtype, torch.float64, torch.float32),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "precision of one backend": lambda: _one_product("bf16"),  # gives back both, so that it is last
    "matmul precision": lambda: _written(torch.set_float32_matmul_precision, "medium", "highest"),
    "deterministic": lambda: _written(torch.set_deterministic_debug_mode, "error", "default"),
    "deterministic, warnings alone": lambda: _written(
        torch.set_deterministic_debug_mode, "warn", "default"
    ),
    "default device": lambda: _written(torch.set_default_device, "meta", None),
    "device of a block": lambda: torch.device("meta"),
    "attention kernel": lambda: sdpa_kernel(SDPBackend.MATH),
    "subnormal numbers": lambda: _written(torch.set_flush_denormal, odd=True, usual=False),
    "threads": lambda: _written(torch.set_num_threads, 3, torch.get_num_threads()),
    "errors of numpy": lambda: np.errstate(all="raise"),
}


def state() -> tuple[object, ...]:
    """What is given back, as a user can read it."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:
        precision = "set in two ways"
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        precision,
        [products.fp32_precision for products in PRODUCTS],
        torch.get_deterministic_debug_mode(),
        torch.get_default_device(),
        cuda.flash_sdp_enabled(),  # type: ignore[no-untyped-call]
        torch.get_num_threads(),
        np.geterr(),
    )


@contextmanager
def all_odd() -> Iterator[None]:
    """All at once but the threads, which long work takes as they are, and one slow mode of two."""
    with ExitStack() as stack:
        for name, setting in ODD.items():
            if name not in {"threads", "device of a block"}:
                stack.enter_context(setting())
        yield
