"""The fused LoRA projections of queries, keys and values: values, gradients by gradcheck, saved tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gristmill.kernels import lora_qkv as module
from gristmill.kernels.lora_maps import LoRAMap, factors
from gristmill.kernels.lora_qkv import lora_qkv

Random = Callable[..., Tensor]


@pytest.fixture
def random(device: torch.device) -> Random:
    generator = torch.Generator().manual_seed(11)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(device)


def _maps(random: Random, size: int, biased: bool = False, adapted: str = "qkv") -> list[LoRAMap]:
    maps = []
    for name, rows, rank in (("q", 8, 2), ("k", 4, 3), ("v", 4, 1)):
        weight, bias = random(rows, size), random(rows) if biased else None
        a = b = None
        if name in adapted:
            a, b = random(rank, size).requires_grad_(), random(rows, rank).requires_grad_()
        maps.append(LoRAMap(lambda weight=weight: weight, bias, a, b, 0.6))
    return maps


def _plain(x: Tensor, maps: list[LoRAMap]) -> tuple[Tensor, ...]:
    outs = []
    for each in maps:
        y = x @ each.weight().T + (0 if each.bias is None else each.bias)
        outs.append(y if each.a is None or each.b is None else y + each.scale * (x @ each.a.T) @ each.b.T)
    return tuple(outs)


@pytest.mark.parametrize("adapted", ["qkv", "qv", "k"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_equals_the_plain_formula_and_its_gradients(
    random: Random, adapted: str, biased: bool, tokens: int
) -> None:
    maps, x = _maps(random, 6, biased, adapted), random(tokens, 6).requires_grad_()
    upstream = [random(tokens, rows) for rows in (8, 4, 4)]
    found, plain = lora_qkv(x, *maps), _plain(x, maps)
    torch.testing.assert_close(found, plain)
    inputs = [x, *(factor for factor in factors(maps) if factor is not None)]
    torch.testing.assert_close(*(torch.autograd.grad(outs, inputs, upstream) for outs in (found, plain)))


def test_gradcheck(random: Random) -> None:
    maps, x = _maps(random, 5, biased=True), random(3, 5).requires_grad_()

    def run(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        return lora_qkv(x, *(replace(m, a=a, b=b) for m, a, b in zip(maps, given[::2], given[1::2])))

    assert torch.autograd.gradcheck(run, (x, *factors(maps)))


def test_a_result_may_go_unused_and_views_are_read(random: Random) -> None:
    maps, x = _maps(random, 6), random(6, 8).T[::2].requires_grad_()
    upstream = random(8, 4).T
    found, plain = (
        torch.autograd.grad(outs[0], x, upstream) for outs in (lora_qkv(x, *maps), _plain(x, maps))
    )
    torch.testing.assert_close(found, plain)


def test_saves_x_once_and_nothing_else(random: Random) -> None:
    maps, x = _maps(random, 6), random(5, 6).requires_grad_()
    own = {factor.data_ptr() for factor in factors(maps) if factor is not None}
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        lora_qkv(x, *maps)
    assert [pointer for pointer in saved if pointer not in own] == [x.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_formulas_own_rounding(random: Random, dtype: torch.dtype) -> None:
    """Factors are float32 over a bf16 base, as in training; the plain formula takes them rounded."""
    maps, x = _maps(random, 200), random(40, 200)
    upstream = [random(40, rows).to(dtype) for rows in (8, 4, 4)]
    results = []
    for function, kind, factor_kind in (
        (lambda x, *given: lora_qkv(x, *given), dtype, torch.float32),
        (lambda x, *given: _plain(x, list(given)), dtype, dtype),
        (lambda x, *given: _plain(x, list(given)), torch.float64, torch.float64),
    ):
        given = []
        for each in maps:
            weight = each.weight().to(dtype).to(kind)
            a, b = (part.detach().float().to(factor_kind).requires_grad_() for part in (each.a, each.b))
            given.append(replace(each, weight=lambda weight=weight: weight, a=a, b=b))
        start = x.to(dtype).to(kind).requires_grad_()
        outs = function(start, *given)
        gradients = torch.autograd.grad(outs, [start, *factors(given)], [part.to(kind) for part in upstream])
        results.append([*outs, *gradients])
    slack = 1e-6 if dtype == torch.float32 else 2e-3
    for ours, theirs, truth in zip(*results):
        assert (ours - truth).abs().mean() <= 1.05 * (
            theirs - truth
        ).abs().mean() + slack * truth.abs().mean()


def test_cost_counts_the_products() -> None:
    found = module.cost(10, 64, 64, 32, 4, 2)
    assert found.flop == 2 * 10 * 64 * 128 + 2 * 10 * 4 * (3 * 64 + 128)
    assert found.written == 10 * 128 * 2
    assert module.cost(10, 64, 64, 32, 4, 2, backward=True).flop == 2 * 10 * 64 * 128 + 6 * 10 * 4 * (
        3 * 64 + 128
    )
