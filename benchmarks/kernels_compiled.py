"""Compilation of Triton kernels for a GPU, which need not be present."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction


@dataclass(frozen=True)
class Compiled:
    """A kernel as it would have been launched.

    ``name``: its file and function, such as ``nf4.dequantize``. ``cubin``: the machine code. ``threads``: of
    each of the ``programs``.
    """

    name: str
    cubin: bytes
    threads: int
    programs: int


class NoDevice:
    """The properties of the machine that Triton reads before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_only(capability: int, found: Callable[[Compiled], None]) -> None:
    """From now on, compile kernels instead of launching them, for a compute capability such as 90.

    ``found`` is called for each launch. The tensors of the launch are not read, and may be on the CPU. For a
    process that does nothing else.
    """
    launch = JITFunction.run

    def run(self: JITFunction[Any], *given: Any, grid: Any, warmup: bool, **more: Any) -> Any:
        kernel = launch(self, *given, grid=grid, warmup=True, **more)
        name = f"{self.__module__.rpartition('.')[2]}.{self.__name__.strip('_')}"
        found(Compiled(name, kernel.asm["cubin"], 32 * kernel.metadata.num_warps, math.prod(grid)))
        return kernel

    JITFunction.run = run  # type: ignore[method-assign]
    driver.set_active(NoDevice(capability))
