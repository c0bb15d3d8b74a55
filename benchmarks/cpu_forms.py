"""Training operations on a CPU: plain PyTorch, torch.compile and oneDNN's bf16 matrix products.

    python benchmarks/cpu_forms.py [--quick]

Forward and backward pass of a SmolLM2-135M MLP with LoRA, of RMSNorm and of SwiGLU, 1024 tokens: our plain
forms in bf16 and float32, and the PyTorch formula under torch.compile (compilation time not counted). Medians
of alternating runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from measuring import Figure, median, versions, write
from torch import Tensor
from torch.nn.functional import linear, silu
from torch.nn.functional import rms_norm as torch_rms_norm

from gristmill.kernels.lora_linear import lora_linear
from gristmill.kernels.rms_norm import rms_norm
from gristmill.kernels.swiglu import swiglu

TOKENS, HIDDEN, INNER, RANK, SCALE = 1024, 576, 1536, 16, 2.0
Run = Callable[[], object]


def seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def both_ways(function: Callable[..., Tensor], inputs: list[Tensor]) -> Run:
    return lambda: torch.autograd.grad(function(*inputs).sum(), inputs)


def cases(dtype: torch.dtype) -> dict[str, tuple[Run, Run]]:
    """Return by name: ours, and the formula under torch.compile."""
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator) / shape[-1] ** 0.5).to(dtype).requires_grad_()

    x, gate, up, norm = leaf(TOKENS, HIDDEN), leaf(TOKENS, INNER), leaf(TOKENS, INNER), leaf(HIDDEN).detach()
    sizes = ((INNER, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER))
    weights = [leaf(*size).detach() for size in sizes]
    factors = [factor for rows, columns in sizes for factor in (leaf(RANK, columns), leaf(rows, RANK))]

    def mlp(x: Tensor, *f: Tensor) -> Tensor:
        def adapted(x: Tensor, layer: int) -> Tensor:
            return linear(x, weights[layer]) + SCALE * linear(linear(x, f[2 * layer]), f[2 * layer + 1])

        return adapted(silu(adapted(x, 0)) * adapted(x, 1), 2)

    def ours(x: Tensor, *f: Tensor) -> Tensor:
        def adapted(x: Tensor, layer: int) -> Tensor:
            return lora_linear(x, lambda: weights[layer], None, f[2 * layer], f[2 * layer + 1], SCALE)

        return adapted(swiglu(adapted(x, 0), adapted(x, 1)), 2)

    compiled = torch.compile
    return {
        "RMSNorm": (both_ways(lambda x: rms_norm(x, norm, 1e-5), [x]),
                    both_ways(compiled(lambda x: torch_rms_norm(x, (HIDDEN,), norm, 1e-5)), [x])),
        "SwiGLU": (both_ways(swiglu, [gate, up]), both_ways(compiled(lambda g, u: silu(g) * u), [gate, up])),
        "MLP with LoRA": (both_ways(ours, [x, *factors]), both_ways(compiled(mlp), [x, *factors])),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few runs each")
    rounds = 5 if parser.parse_args().quick else 40
    figures = []
    for dtype in (torch.bfloat16, torch.float32):
        for name, (ours, compiled) in cases(dtype).items():
            for _ in range(3):
                ours(), compiled()
            times = [(seconds(ours), seconds(compiled)) for _ in range(rounds)]
            mine, theirs = (1e3 * median([pair[side] for pair in times]) for side in range(2))
            figures.append(
                Figure(
                    f"{name}, both ways, {str(dtype).removeprefix('torch.')}", "ms", mine, theirs,
                    "torch.compile", torch.__version__, theirs / mine, "> 1",
                )
            )  # fmt: skip
    write("cpu_forms", figures, versions("torch"), {"rounds": rounds, "tokens": TOKENS})


if __name__ == "__main__":
    main()
