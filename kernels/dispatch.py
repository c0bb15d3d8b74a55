"""Choice of the form of an operation: Triton for CUDA tensors, plain PyTorch otherwise.

Every operation with two forms calls :func:`on_triton` in its public function or autograd function, and
imports its kernels from ``kernels/gpu`` only if needed. The plain form is the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Literal

from torch import Tensor

Form = Literal["plain", "triton"]
_forced: Form | None = None


def on_triton(tensor: Tensor) -> bool:
    """Return whether the Triton kernel runs for ``tensor``'s device. Called once per operation."""
    if _forced is not None:
        return _forced == "triton"
    return tensor.is_cuda and _installed()


@contextmanager
def use(form: Form) -> Iterator[None]:
    """Force one form on any device, to compare both.

    On a CPU, the Triton form needs Triton's interpreter (``TRITON_INTERPRET=1`` when Triton is first
    imported). This applies to the whole process, since the backward pass runs in another thread.
    """
    global _forced
    before, _forced = _forced, form
    try:
        yield
    finally:
        _forced = before


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
