"""The fused LoRA MLP: values, gradients by gradcheck, saved tensors, and calls for a weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from gristmill.kernels import lora_mlp as module
from gristmill.kernels.lora_linear import lora_linear
from gristmill.kernels.lora_maps import LoRAMap, factors
from gristmill.kernels.lora_mlp import lora_mlp
from gristmill.kernels.swiglu import swiglu

Random = Callable[..., Tensor]


@pytest.fixture
def random(device: torch.device) -> Random:
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(device)


def _maps(
    random: Random, hidden: int, inner: int, biased: bool = False, adapted: str = "gud"
) -> list[LoRAMap]:
    maps = []
    for name, (rows, columns) in {"g": (inner, hidden), "u": (inner, hidden), "d": (hidden, inner)}.items():
        weight, bias = random(rows, columns), random(rows) if biased else None
        a = b = None
        if name in adapted:
            a, b = random(3, columns).requires_grad_(), random(rows, 3).requires_grad_()
        maps.append(LoRAMap(lambda weight=weight: weight, bias, a, b, 1.7))
    return maps


def _plain(x: Tensor, each: LoRAMap) -> Tensor:
    y = x @ each.weight().T + (0 if each.bias is None else each.bias)
    return y if each.a is None or each.b is None else y + each.scale * (x @ each.a.T) @ each.b.T


def _plain_mlp(x: Tensor, maps: list[LoRAMap]) -> Tensor:
    return _plain(silu(_plain(x, maps[0])) * _plain(x, maps[1]), maps[2])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("adapted", ["gud", "gu", "d", "ud", ""])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_equals_the_plain_formula_and_its_gradients(
    random: Random, adapted: str, biased: bool, tokens: int
) -> None:
    maps, x = _maps(random, 6, 9, biased, adapted), random(tokens, 6).requires_grad_()
    upstream = random(tokens, 6)
    found, plain = lora_mlp(x, *maps), _plain_mlp(x, maps)
    torch.testing.assert_close(found, plain)
    inputs = [x, *(factor for factor in factors(maps) if factor is not None)]
    torch.testing.assert_close(*(torch.autograd.grad(y, inputs, upstream) for y in (found, plain)))


@pytest.mark.usefixtures("form")
def test_geglu_equals_the_plain_formula_and_its_gradients(random: Random) -> None:
    maps, x, upstream = _maps(random, 6, 9), random(5, 6).requires_grad_(), random(5, 6)
    found = lora_mlp(x, *maps, activation="gelu_tanh")
    plain = _plain(gelu(_plain(x, maps[0]), approximate="tanh") * _plain(x, maps[1]), maps[2])
    torch.testing.assert_close(found, plain)
    inputs = [x, *factors(maps)]
    torch.testing.assert_close(*(torch.autograd.grad(y, inputs, upstream) for y in (found, plain)))


@pytest.mark.usefixtures("form")
def test_gradcheck(random: Random) -> None:
    maps, x = _maps(random, 4, 5, biased=True), random(3, 4).requires_grad_()

    def run(x: Tensor, *given: Tensor) -> Tensor:
        return lora_mlp(x, *(replace(m, a=a, b=b) for m, a, b in zip(maps, given[::2], given[1::2])))

    assert torch.autograd.gradcheck(run, (x, *factors(maps)))


@pytest.mark.usefixtures("form")
def test_an_input_that_is_not_trained_on_gets_no_gradient_and_views_are_read(random: Random) -> None:
    maps, x = _maps(random, 6, 9), random(6, 10).T[::2]
    y = lora_mlp(x, *maps)
    torch.testing.assert_close(y, _plain_mlp(x, maps))
    upstream = random(6, 5).T
    found = torch.autograd.grad(y, factors(maps), upstream)
    torch.testing.assert_close(found, torch.autograd.grad(_plain_mlp(x, maps), factors(maps), upstream))


def test_saves_x_gate_and_up_and_decodes_each_weight_once_a_pass(random: Random) -> None:
    asked: Counter[int] = Counter()

    def counting(number: int, weight: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def get() -> Tensor:
            asked[number] += 1
            return weight()

        return get

    maps = [replace(m, weight=counting(n, m.weight)) for n, m in enumerate(_maps(random, 8, 16))]
    x = random(32, 8).requires_grad_()
    own = {factor.data_ptr() for factor in factors(maps) if factor is not None}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            saved[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = lora_mlp(x, *maps)
    assert sorted(saved.values()) == [32 * 8 * 8, 32 * 16 * 8, 32 * 16 * 8]
    assert asked == {0: 1, 1: 1, 2: 1}
    y.sum().backward()
    assert asked == {0: 2, 1: 2, 2: 2}


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_parts_own_rounding(random: Random, dtype: torch.dtype) -> None:
    """The error against float64 is at most that of the same maps one by one.

    Factors are float32 over a bf16 base, as in training.
    """
    x, upstream = random(33, 70), random(33, 70)
    exact = _maps(random, 70, 130)

    def rounded(each: LoRAMap) -> LoRAMap:
        weight = (each.weight() / 8).to(dtype)
        a, b = (part.detach().float().mul(0.1).requires_grad_() for part in (each.a, each.b))
        return replace(each, weight=lambda: weight, a=a, b=b)

    def parts(x: Tensor, maps: list[LoRAMap]) -> Tensor:
        def one(x: Tensor, each: LoRAMap) -> Tensor:
            return lora_linear(x, each.weight, each.bias, each.a, each.b, each.scale)

        return one(swiglu(one(x, maps[0]), one(x, maps[1])), maps[2])

    low = [rounded(each) for each in exact]
    wide = [replace(m, weight=lambda m=m: m.weight().double(), a=m.a.detach().double().requires_grad_(),
                    b=m.b.detach().double().requires_grad_()) for m in low]  # fmt: skip
    results = []
    for function, maps, kind in (
        (lora_mlp, low, dtype),
        (parts, low, dtype),
        (_plain_mlp, wide, torch.float64),
    ):
        start = x.to(dtype).to(kind).requires_grad_()
        y = function(start, *maps) if function is lora_mlp else function(start, maps)
        results.append([y, *torch.autograd.grad(y, [start, *factors(maps)], upstream.to(dtype).to(kind))])
    for ours, theirs, truth in zip(*results):
        assert ours.dtype == theirs.dtype
        slack = 1e-6 if dtype == torch.float32 else 2e-3
        assert (ours - truth).abs().mean() <= 1.05 * (
            theirs - truth
        ).abs().mean() + slack * truth.abs().mean()


def test_cost_counts_three_products_each_way() -> None:
    forward, backward = (module.cost(64, 32, 128, 0, 2, backward=back) for back in (False, True))
    small = 5 * 64 * 128
    assert forward.flop == 6 * 64 * 32 * 128 + small
    assert backward.flop == 6 * 64 * 32 * 128 + small + 12 * 64 * 128
    assert module.cost(64, 32, 128, 4, 2).flop - forward.flop == 6 * 64 * 4 * (32 + 128)
