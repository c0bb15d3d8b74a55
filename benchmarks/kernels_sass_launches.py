"""The launches of ``kernels_sass.py``: every kernel at the shapes of a layer of an 8B Llama, in bfloat16.

The tensors are allocated and never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gristmill.kernels.blockwise import BLOCK
from gristmill.kernels.gpu import (
    adamw8bit,
    cross_entropy,
    integers,
    nf4,
    rms_norm,
    rotary,
    rounding,
    swiglu,
    top_k,
)

HIDDEN, INNER, VOCABULARY, HEADS, KEY_HEADS, HEAD = 4096, 14336, 128256, 32, 8, 128
TOKENS, RANK = 1024, 16


@dataclass(frozen=True)
class Launch:
    """One launch: what it computes, and the number of its ``elements``.

    ``read``: bytes that a loop of the kernel reads per element. ``turns``: how often a loop that reads
    nothing computes each element.
    """

    what: str
    elements: int
    run: Callable[[], object]
    read: int = 0
    turns: int = 1


def bf16(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16)


def fp32(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32)


def bytes_(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.uint8)


def launches() -> list[Launch]:
    return [*_weights(), *_layer(), *_head(), *_optimizer()]


def _weights() -> list[Launch]:
    count, out = HIDDEN * INNER, bf16(HIDDEN, INNER)
    blocks = count // 64
    scales = (bytes_(blocks), fp32(256), fp32(blocks // 256), fp32(1)[0])
    halves = bf16(blocks), bf16(blocks).half()
    four = {"largest": 15, "smallest": 1e-30, "norm": 0.7, "beta": 10.0, "growth": 1.01, "rounds": 20}
    return [
        Launch("NF4 dequantize, nested", count,
               partial(nf4.dequantize, bytes_(count // 2), scales, fp32(16), out, 64, BLOCK)),
        Launch("NF4 dequantize", count,
               partial(nf4.dequantize, bytes_(count // 2), fp32(blocks), fp32(16), out, 64, BLOCK)),
        Launch("NF4 quantize", count, partial(nf4.quantize, out.view(-1), fp32(15), 64, 1e-38)),
        Launch("INT8 dequantize", count,
               partial(integers.dequantize_int8, bytes_(HIDDEN, INNER).view(torch.int8), fp32(HIDDEN), out)),
        Launch("INT8 quantize", count, partial(integers.quantize_int8, out, 127), read=2),
        Launch("INT4 dequantize", count,
               partial(integers.dequantize_int4, bytes_(count // 2), *halves, out, 64)),
        Launch("INT4 quantize", count, partial(integers.quantize_int4, out.view(-1), 64, **four), turns=21),
    ]  # fmt: skip


def _layer() -> list[Launch]:
    wide, inner, heads = bf16(TOKENS, HIDDEN), bf16(TOKENS, INNER), bf16(TOKENS * HEADS, HEAD)
    q, k, angles = bf16(TOKENS, HEADS, HEAD), bf16(TOKENS, KEY_HEADS, HEAD), bf16(TOKENS, HEAD // 2)
    weight, gain, count = bf16(HIDDEN), bf16(HEAD), wide.numel()
    return [
        Launch("RMSNorm forward", count, partial(rms_norm.forward, wide, None, weight, 1e-5)),
        Launch("add + RMSNorm forward", count, partial(rms_norm.forward, wide, wide, weight, 1e-5)),
        Launch("add + RMSNorm backward", count,
               partial(rms_norm.backward, wide, wide, wide, weight, fp32(TOKENS, 1), False), read=6),
        Launch("RMSNorm backward, trained", count,
               partial(rms_norm.backward, wide, None, wide, weight, fp32(TOKENS, 1), True), read=4),
        Launch("q/k-norm forward", heads.numel(), partial(rms_norm.forward, heads, None, gain, 1e-5)),
        Launch("q/k-norm backward", heads.numel(),
               partial(rms_norm.backward, heads, None, heads, gain, fp32(TOKENS * HEADS, 1), False), read=4),
        Launch("RoPE of Q and K", q.numel() + k.numel(),
               partial(rotary.pair, q, k, (q, k), angles, angles, 1)),
        Launch("SwiGLU forward", inner.numel(), partial(swiglu.forward, inner, inner, True)),
        Launch("SwiGLU backward", inner.numel(), partial(swiglu.backward, inner, inner, inner, True)),
    ]  # fmt: skip


def _head() -> list[Launch]:
    logits, targets = bf16(TOKENS, VOCABULARY), torch.empty(TOKENS, dtype=torch.int64)
    run = partial(cross_entropy.slopes, logits, targets, None, sloped=True)
    return [Launch("cross-entropy", logits.numel(), run, read=2)]


def _optimizer() -> list[Launch]:
    count, wide, seed = RANK * HIDDEN, HIDDEN * INNER, torch.empty(1, dtype=torch.int64)
    return [
        Launch("8-bit AdamW step", count, partial(_step, fp32(count), fp32(count))),
        Launch("top-k histogram", wide, partial(top_k.histogram, fp32(wide), 0, 21, 11), read=4),
        Launch("stochastic rounding", count,
               partial(rounding.stochastic_round, fp32(count), bf16(count), seed)),
    ]  # fmt: skip


def _step(parameter: Tensor, gradient: Tensor) -> None:
    count, tables = parameter.numel(), [fp32(256), fp32(256), fp32(255), fp32(255)]
    moments = [bytes_(count), fp32(count // BLOCK), bytes_(count), fp32(count // BLOCK)]
    adamw8bit.step(
        [parameter], [gradient], [moments], tables, None, lr=1e-4, betas=(0.9, 0.999), eps=1e-8,
        weight_decay=0.0, number=10, block=BLOCK, smallest=1e-38,
    )  # fmt: skip
