"""One step of AdamW with both moments in 8 bits, in blocks.

Dettmers, Lewis, Shleifer, Zettlemoyer, "8-bit Optimizers via Block-wise Quantization" (ICLR 2022, arXiv
2110.02861): the first moment is quantized with the signed dynamic map, the second with the unsigned one, in
blocks of 256. The step is AdamW's (Loshchilov & Hutter, arXiv 1711.05101) in float32, computed from the
moments before they are quantized again.

The states are those of bitsandbytes, except that a nonzero second moment is never rounded to zero. Otherwise,
the next step would divide by its newest gradient alone and be up to 1 / sqrt(1 - beta2) times too large (the
zero-point problem of Li, Chen, Zhu, "Memory Efficient Optimizers with 4-bit States", arXiv 2309.01507).

Bytes per parameter of s bytes, with a gradient of s bytes: 3*s + 4 + 16/256.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import blockwise, dispatch
from .cost import KernelCost
from .rounding import draw_seed, stochastic_round
from .update_counts import bias_correction

#: Number of parameters whose float32 moments exist at once in the plain form: whole blocks, 4 MiB per moment.
PART = 4096 * blockwise.BLOCK


@dataclass(frozen=True, slots=True)
class Moments:
    """Both moments of a parameter of n values: codes uint8 (n,) and scales float32 (ceil(n/256),).

    A step updates them in place.
    """

    first: Tensor
    first_absmax: Tensor
    second: Tensor
    second_absmax: Tensor

    @classmethod
    def zeros(cls, parameter: Tensor) -> Moments:
        """Return the initial moments of a parameter."""
        count, device = parameter.numel(), parameter.device
        codes = [torch.zeros(count, dtype=torch.uint8, device=device) for _ in range(2)]
        scales = [torch.zeros(-(-count // blockwise.BLOCK), device=device) for _ in range(2)]
        return cls(codes[0], scales[0], codes[1], scales[1])


def adamw8bit_step(
    parameter: Tensor,
    gradient: Tensor,
    moments: Moments,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: int,
    generator: torch.Generator | None = None,
) -> None:
    """Update ``parameter`` (float32 or bfloat16, any shape) and ``moments`` in place.

    ``gradient``: floating point, of the parameter's shape. ``step`` counts from 1. A bfloat16 parameter has
    no float32 copy and is rounded stochastically with ``generator``, so that updates below half its spacing
    are not lost. Raises ValueError for another dtype, shapes that differ, or a bfloat16 parameter without a
    generator.
    """
    adamw8bit_steps(
        [parameter], [gradient], [moments], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, step=step,
        generator=generator,
    )  # fmt: skip


def adamw8bit_steps(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Sequence[Moments],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: int | Tensor,
    generator: torch.Generator | None = None,
) -> None:
    """Make one :func:`adamw8bit_step` of each parameter, in one launch for those of the same dtypes.

    ``step``: of all values; or int16 (n,), of each value of the one parameter that is given. No kernel has
    the latter: it is computed in the plain form on a GPU too.
    """
    for parameter, gradient, own in zip(parameters, gradients, moments, strict=True):
        _check(parameter, gradient, own, generator)
    flat = [parameter.detach().reshape(-1) for parameter in parameters]
    slopes = [gradient.detach().reshape(-1) for gradient in gradients]
    if flat and isinstance(step, int) and dispatch.on_triton(flat[0]):
        from .gpu import adamw8bit as gpu

        for alike in _alike(flat, slopes):
            states = [moments[index] for index in alike]
            seeds = None
            if flat[alike[0]].dtype == torch.bfloat16 and generator is not None:
                seeds = torch.cat([draw_seed(generator) for _ in alike]).to(flat[0].device)
            gpu.step(
                [flat[index] for index in alike], [slopes[index] for index in alike],
                [(each.first, each.first_absmax, each.second, each.second_absmax) for each in states],
                _tables(flat[0].device), seeds, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                number=step, block=blockwise.BLOCK, smallest=blockwise.SMALLEST_SCALE,
            )  # fmt: skip
        # The kernel writes to addresses, which autograd does not see.
        torch.autograd.graph.increment_version(parameters)
    else:
        for values, slope, own in zip(flat, slopes, moments):
            _plain_step(values, slope, own, lr, betas, eps, weight_decay, step, generator)
    for parameter, values in zip(parameters, flat):
        if values.data_ptr() != parameter.data_ptr():
            parameter.detach().copy_(values.view(parameter.shape))


def _check(parameter: Tensor, gradient: Tensor, moments: Moments, generator: torch.Generator | None) -> None:
    if parameter.shape != gradient.shape or parameter.numel() != moments.first.numel():
        raise ValueError(
            f"shapes do not match: parameter {tuple(parameter.shape)}, gradient {tuple(gradient.shape)}, "
            f"moments of {moments.first.numel()} values"
        )
    if parameter.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"an 8-bit AdamW step needs float32 or bfloat16 parameters, not {parameter.dtype}")
    if parameter.dtype == torch.bfloat16 and generator is None:
        raise ValueError("a bfloat16 parameter needs a generator for stochastic rounding")


def _alike(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[list[int]]:
    """Group the parameters, by their numbers, by the dtypes of value and gradient."""
    groups: dict[tuple[torch.dtype, torch.dtype], list[int]] = {}
    for number, (parameter, gradient) in enumerate(zip(parameters, gradients)):
        groups.setdefault((parameter.dtype, gradient.dtype), []).append(number)
    return list(groups.values())


def _plain_step(
    flat: Tensor,
    gradients: Tensor,
    moments: Moments,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: int | Tensor,
    generator: torch.Generator | None,
) -> None:
    for start in range(0, flat.numel(), PART):
        part = slice(start, start + PART)
        blocks = slice(start // blockwise.BLOCK, (start + PART) // blockwise.BLOCK)
        g = gradients[part].float()
        m = blockwise.dequantize_signed(moments.first[part], moments.first_absmax[blocks])
        v = blockwise.dequantize_unsigned(moments.second[part], moments.second_absmax[blocks])
        m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
        v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
        wide = flat[part].float().mul_(1 - lr * weight_decay)
        if isinstance(step, int):
            spread = v.sqrt().div_(math.sqrt(1 - betas[1] ** step)).add_(eps)
            wide.addcdiv_(m, spread, value=-lr / (1 - betas[0] ** step))
        else:
            first, second = (bias_correction(beta, step[part]) for beta in betas)
            wide.addcdiv_(m / first, (v / second).sqrt_().add_(eps), value=-lr)
        if flat.dtype == torch.bfloat16 and generator is not None:
            flat[part] = stochastic_round(wide, generator)
        else:
            flat[part] = wide
        moments.first[part], moments.first_absmax[blocks] = blockwise.quantize_signed(m)
        moments.second[part], moments.second_absmax[blocks] = quantize_second(v)


def quantize_second(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes and scales of a second moment, float32 (n,). A nonzero value has a nonzero code."""
    codes, absmax = blockwise.quantize_unsigned(values)
    return codes.maximum((values > 0).to(torch.uint8)), absmax


def _tables(device: torch.device) -> tuple[Tensor, ...]:
    maps = blockwise.signed_map(device), blockwise.unsigned_map(device)
    return *maps, *(blockwise.midpoints(table) for table in maps)


def cost(count: int, itemsize: int) -> KernelCost:
    """Cost of a step over ``count`` parameters, with ``itemsize`` bytes per parameter and per gradient."""
    scales = 8 * -(-count // blockwise.BLOCK)
    return KernelCost(count * (2 * itemsize + 2) + scales, count * (itemsize + 2) + scales, 20 * count)
