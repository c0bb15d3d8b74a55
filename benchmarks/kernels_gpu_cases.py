"""The cases of ``kernels_gpu.py``: every kernel at the shapes of a layer, with its cost and its peers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.nn.functional import rms_norm as torch_rms_norm
from torch.nn.functional import silu

from gristmill.kernels import (
    adamw8bit,
    cross_entropy,
    int4,
    int8,
    log_probs,
    lora_linear,
    lora_mlp,
    lora_qkv,
    nf4,
    rms_norm,
    rotary,
    rounding,
    swiglu,
    top_k,
)
from gristmill.kernels.cost import KernelCost
from gristmill.kernels.lora_maps import LoRAMap

Run = Callable[[], object]


@dataclass(frozen=True)
class Shapes:
    """Of a layer: tokens, hidden, inner and vocabulary sizes, query and key heads of ``head`` values each."""

    tokens: int = 8192
    hidden: int = 4096
    inner: int = 14336
    vocabulary: int = 128256
    heads: int = 32
    key_heads: int = 8
    head: int = 128


@dataclass(frozen=True)
class Case:
    """One kernel: its bytes and FLOP, our function, and those of the peers by name."""

    name: str
    cost: KernelCost
    ours: Run
    peers: dict[str, Run] = field(default_factory=dict)
    aim: float = 0.85


def cases(device: torch.device, at: Shapes, peers: bool = True) -> list[Case]:
    """Return every kernel in bfloat16 at the given shapes; ``peers``: whether to look for peers."""
    liger = _optional("liger_kernel.transformers.functional") if peers else None
    bnb = _optional("bitsandbytes.functional") if peers else None
    compiled: Callable[..., Any] | None = torch.compile if peers else None
    random = partial(torch.randn, device=device, dtype=torch.bfloat16)
    return [
        *_weights(random, at, bnb),
        *_norms(random, at, liger, compiled),
        *_mlp(random, at, liger, compiled),
        *_rotary(random, at, liger, compiled),
        *_lora(random, at),
        *_head(random, at, liger),
        *_optimizer(random, at, bnb, compiled),
    ]


def _weights(random: Callable[..., Tensor], at: Shapes, bnb: ModuleType | None) -> list[Case]:
    weight = random(at.hidden, at.inner)
    shape, count = f"{at.hidden}x{at.inner}", weight.numel()
    packed, flat, eight, four = (
        nf4.quantize(weight),
        nf4.quantize(weight, nested=False),
        int8.quantize(weight),
        int4.quantize(weight),
    )
    decode: dict[bool, dict[str, Run]] = {True: {}, False: {}}
    encode: dict[str, Run] = {}
    if bnb is not None:
        for nested in decode:
            codes, state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=nested)
            decode[nested]["bitsandbytes"] = partial(bnb.dequantize_4bit, codes, state)
        encode["bitsandbytes"] = partial(bnb.quantize_4bit, weight, quant_type="nf4")
    bf16 = torch.bfloat16
    return [
        Case(f"NF4 dequantize, nested, {shape}", nf4.cost(count, 2), partial(nf4.dequantize, packed, bf16),
             decode[True]),
        Case(f"NF4 dequantize, flat, {shape}", nf4.cost(count, 2, nested=False),
             partial(nf4.dequantize, flat, bf16), decode[False]),
        Case(f"NF4 quantize, {shape}", nf4.cost(count, 2, nested=False),
             partial(nf4.quantize, weight, nested=False), encode, 0.0),
        Case(f"INT8 quantize, {shape}", int8.quantize_cost(*weight.shape, 2), partial(int8.quantize, weight),
             {}, 0.0),
        Case(f"INT4 quantize, {shape}", int4.quantize_cost(count, 2), partial(int4.quantize, weight), {},
             0.0),
        Case(f"INT8 dequantize, {shape}", int8.cost(*weight.shape, 2), partial(int8.dequantize, eight, bf16)),
        Case(f"INT4 dequantize, {shape}", int4.cost(count, 2), partial(int4.dequantize, four, bf16)),
    ]  # fmt: skip


def _norms(random: Callable[..., Tensor], at: Shapes, liger: ModuleType | None, compiled: Any) -> list[Case]:
    x, residual = (random(at.tokens, at.hidden).requires_grad_() for _ in range(2))
    weight, shape = random(at.hidden), f"{at.tokens}x{at.hidden}"
    peers: dict[str, Callable[..., Tensor]] = {}
    if liger is not None:
        peers["Liger"] = lambda x: liger.liger_rms_norm(x, weight, 1e-5, 0.0, "llama", False)
    if compiled is not None:
        peers["torch.compile"] = compiled(lambda x: torch_rms_norm(x, weight.shape, weight, 1e-5))
    cost = partial(rms_norm.cost, at.tokens, at.hidden, 2)
    heads, gain = random(at.tokens * at.heads, at.head).requires_grad_(), random(at.head)
    of_heads = partial(rms_norm.cost, at.tokens * at.heads, at.head, 2)
    return [
        *_both_ways(f"RMSNorm, {shape}", cost, lambda x: rms_norm.rms_norm(x, weight, 1e-5), (x,), peers),
        *_both_ways(
            f"RMSNorm of heads, {at.tokens * at.heads}x{at.head}",
            of_heads,
            lambda x: rms_norm.rms_norm(x, gain, 1e-5),
            (heads,),
            {},
        ),
        Case(
            f"add + RMSNorm forward, {shape}",
            cost(add=True),
            lambda: rms_norm.add_rms_norm(x.detach(), residual.detach(), weight, 1e-5),
        ),
    ]


def _mlp(random: Callable[..., Tensor], at: Shapes, liger: ModuleType | None, compiled: Any) -> list[Case]:
    inputs = tuple(random(at.tokens, at.inner).requires_grad_() for _ in range(2))
    peers: dict[str, Callable[..., Tensor]] = {} if liger is None else {"Liger": liger.liger_swiglu}
    if compiled is not None:
        peers["torch.compile"] = compiled(lambda gate, up: silu(gate) * up)
    cost = partial(swiglu.cost, at.tokens, at.inner, 2)
    return _both_ways(f"SwiGLU, {at.tokens}x{at.inner}", cost, swiglu.swiglu, inputs, peers)


def _rotary(random: Callable[..., Tensor], at: Shapes, liger: ModuleType | None, compiled: Any) -> list[Case]:
    q, k = random(at.tokens, at.heads, at.head), random(at.tokens, at.key_heads, at.head)
    cosines, sines = random(at.tokens, at.head // 2), random(at.tokens, at.head // 2)
    wide = tuple(torch.cat([part, part], dim=-1)[None] for part in (cosines, sines))
    peers: dict[str, Run] = {}
    if liger is not None:
        theirs = tuple(part.transpose(0, 1)[None].contiguous() for part in (q, k))
        peers["Liger"] = lambda: liger.liger_rope(*theirs, *wide)
    if compiled is not None:
        plain = compiled(
            lambda x: (
                x * wide[0][0, :, None]
                + torch.cat((-x[..., at.head // 2 :], x[..., : at.head // 2]), -1) * wide[1][0, :, None]
            )
        )
        peers["torch.compile"] = lambda: (plain(q), plain(k))
    cost = rotary.cost(at.tokens, at.heads + at.key_heads, at.head, 2)
    name = f"RoPE of Q and K in place, {at.tokens}x{at.heads}+{at.key_heads}x{at.head}"
    return [Case(name, cost, lambda: rotary.rotate(q, k, cosines, sines, in_place=True), peers)]


def _lora(random: Callable[..., Tensor], at: Shapes, rank: int = 16) -> list[Case]:
    """The fused LoRA operations over a dense base, and the same operations separately."""
    x, shape = random(at.tokens, at.hidden).requires_grad_(), f"{at.tokens}x{at.hidden}, rank {rank}"

    def adapted(rows: int, columns: int) -> LoRAMap:
        weight, a, b = random(rows, columns), random(rank, columns).float(), random(rows, rank).float()
        return LoRAMap(lambda: weight, None, a.requires_grad_(), b.requires_grad_(), 2.0)

    def one(x: Tensor, each: LoRAMap) -> Tensor:
        assert each.a is not None
        assert each.b is not None
        return lora_linear.lora_linear(x, each.weight, each.bias, each.a, each.b, each.scale)

    gate, up, down = adapted(at.inner, at.hidden), adapted(at.inner, at.hidden), adapted(at.hidden, at.inner)
    queries, keys = at.heads * at.head, at.key_heads * at.head
    qkv = [adapted(rows, at.hidden) for rows in (queries, keys, keys)]
    mlp_cost = partial(lora_mlp.cost, at.tokens, at.hidden, at.inner, rank, 2)
    qkv_cost = partial(lora_qkv.cost, at.tokens, at.hidden, queries, keys, rank, 2)
    apart = "map by map"
    cases = [
        *_both_ways(f"LoRA MLP, {shape}", mlp_cost, lambda x: lora_mlp.lora_mlp(x, gate, up, down), (x,),
                    {apart: lambda x: one(swiglu.swiglu(one(x, gate), one(x, up)), down)}),
        *_both_ways(f"LoRA QKV, {shape}", qkv_cost, lambda x: torch.cat(lora_qkv.lora_qkv(x, *qkv), 1), (x,),
                    {apart: lambda x: torch.cat([one(x, each) for each in qkv], 1)}),
    ]  # fmt: skip
    return [replace(case, aim=0.75) for case in cases]


def _head(random: Callable[..., Tensor], at: Shapes, liger: ModuleType | None) -> list[Case]:
    hidden, head = random(at.tokens, at.hidden).requires_grad_(), random(at.vocabulary, at.hidden)
    targets = torch.randint(0, at.vocabulary, (at.tokens,), device=hidden.device)
    weights = torch.full((at.tokens,), 1 / at.tokens, device=hidden.device)

    def ours() -> object:
        return torch.autograd.grad(
            cross_entropy.linear_cross_entropy(hidden, head, targets, weights)[0], hidden
        )

    def plain() -> object:
        return torch.autograd.grad(torch_cross_entropy((hidden @ head.T).float(), targets), hidden)

    def preference() -> object:
        return torch.autograd.grad(log_probs.linear_log_probs(hidden, head, targets), hidden, weights)

    peers: dict[str, Run] = {"PyTorch, all logits": plain}
    if liger is not None:
        peers["Liger"] = lambda: torch.autograd.grad(
            liger.liger_fused_linear_cross_entropy(hidden, head, targets), hidden
        )
    cost, shape = (
        log_probs.cost(at.tokens, at.hidden, at.vocabulary, 2),
        f"{at.tokens}x{at.hidden}x{at.vocabulary}",
    )
    return [
        Case(f"linear cross-entropy, both ways, frozen head, {shape}", cost, ours, peers, 0.75),
        Case(f"log-probabilities, both ways, frozen head, {shape}", cost, preference, {}, 0.75),
    ]


def _optimizer(
    random: Callable[..., Tensor], at: Shapes, bnb: ModuleType | None, compiled: Any
) -> list[Case]:
    parameter, gradient = random(at.hidden, at.inner), random(at.hidden, at.inner)
    moments, count = adamw8bit.Moments.zeros(parameter), parameter.numel()
    generator = torch.Generator(parameter.device).manual_seed(0)
    settings: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    step = partial(
        adamw8bit.adamw8bit_step, parameter, gradient, moments, step=10, generator=generator, **settings
    )
    peers: dict[str, Run] = {}
    if bnb is not None:
        theirs = torch.nn.Parameter(parameter.clone())
        theirs.grad = gradient
        peers["bitsandbytes"] = (
            importlib.import_module("bitsandbytes").optim.AdamW8bit([theirs], **settings).step
        )
    wide = gradient.float()
    factors = [random(16, at.hidden).float() for _ in range(64)]
    slopes, states = [x.clone() for x in factors], [adamw8bit.Moments.zeros(x) for x in factors]
    steps = partial(adamw8bit.adamw8bit_steps, factors, slopes, states, step=10, **settings)
    small = sum(x.numel() for x in factors)
    return [
        Case(f"8-bit AdamW step, bf16, {count:,}", adamw8bit.cost(count, 2), step, peers, 0.0),
        Case(f"8-bit AdamW step of 64 factors, {small:,}", adamw8bit.cost(small, 4), steps, {}, 0.0),
        Case(f"top-k threshold and mask, {count:,}", top_k.cost(count),
             partial(top_k.top_k_mask, wide, count // 20),
             {"torch.topk": lambda: torch.topk(wide.abs().view(-1), count // 20)}, 0.0),
        Case(f"stochastic rounding, {count:,}", rounding.cost(count),
             partial(rounding.stochastic_round, wide, generator), {}, 0.0),
    ]  # fmt: skip


def _both_ways(
    name: str, cost: Callable[..., KernelCost], ours: Callable[..., Tensor], inputs: tuple[Tensor, ...],
    peers: dict[str, Callable[..., Tensor]]
) -> list[Case]:  # fmt: skip
    """Return the forward pass and the backward pass as separate cases, for ours and each peer."""
    detached = [x.detach() for x in inputs]

    def back(function: Callable[..., Tensor]) -> Run:
        y = function(*inputs)
        return partial(torch.autograd.grad, y, inputs, torch.randn_like(y), retain_graph=True)

    forward = {peer: partial(function, *detached) for peer, function in peers.items()}
    return [
        Case(f"{name}, forward", cost(), partial(ours, *detached), dict(forward)),
        Case(
            f"{name}, backward", cost(backward=True), back(ours), {peer: back(f) for peer, f in peers.items()}
        ),
    ]


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
