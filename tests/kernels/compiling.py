"""Compile every kernel for a GPU, which need not be present.

    python tests/kernels/compiling.py 90

``test_compiling.py`` runs this in a separate process. The argument is the compute capability. Each operation
of the GPU benchmark is called on CPU tensors of a tiny shape. Instead of launching a kernel, it compiles the
kernel to machine code. Prints one JSON object: kernel -> number of compilations. After its first launch, an
operation computes on undefined values and may fail, but not in compilation.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from triton.compiler.errors import CompilationError

from gristmill.kernels import adamw8bit, dispatch, int4, int8, nf4, rms_norm, swiglu


def main(capability: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import kernels_compiled
    import kernels_gpu

    compiled: Counter[str] = Counter()

    def count(found: kernels_compiled.Compiled) -> None:
        assert found.cubin
        compiled[found.name] += 1

    kernels_compiled.compile_only(capability, count)
    shapes = kernels_gpu.Shapes(tokens=3, hidden=128, inner=256, vocabulary=33, heads=3, key_heads=1, head=8)
    with dispatch.use("triton"):
        runs = [case.ours for case in kernels_gpu.cases(torch.device("cpu"), shapes, peers=False)]
        for run in [*runs, *in_float32()]:
            try:
                run()
            except CompilationError:
                raise
            except ValueError:  # of values that no kernel has written
                continue
    print(json.dumps(compiled))


def in_float32() -> list[Any]:
    """Operations in the forms that a float32 model uses."""
    x, weight = torch.zeros(3, 128), torch.zeros(128)
    gate = torch.zeros(3, 256, requires_grad=True)
    settings: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "step": 1}
    return [
        lambda: rms_norm.add_rms_norm(x, x, weight, 1e-5),
        lambda: torch.autograd.grad(rms_norm.rms_norm(x, weight.requires_grad_(), 1e-5).sum(), weight),
        lambda: torch.autograd.grad(swiglu.swiglu(gate, gate).sum(), gate),
        lambda: nf4.dequantize(nf4.quantize(x)),
        lambda: int8.dequantize(int8.quantize(x)),
        lambda: int4.dequantize(int4.quantize(x)),
        lambda: adamw8bit.adamw8bit_step(x, x.clone(), adamw8bit.Moments.zeros(x), **settings),
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]))
