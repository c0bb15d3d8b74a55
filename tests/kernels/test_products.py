"""Products with a frozen weight: those of a packed weight are the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.contracts.number_formats import fast_bfloat16
from gristmill.kernels import products
from gristmill.kernels.lora_maps import LoRAMap
from gristmill.kernels.lora_qkv import lora_qkv
from gristmill.kernels.products import Packed, back, times

CPU = torch.device("cpu")
native = pytest.mark.skipif(not fast_bfloat16(), reason="this CPU has no bfloat16 products")
#: Dtypes, and whether the weight is packed: float64 never is, bfloat16 where oneDNN multiplies it.
CASES = [
    (torch.float64, False),
    (torch.float32, False),
    (torch.bfloat16, False),
    (torch.float32, True),
    pytest.param(torch.bfloat16, True, marks=native),
]


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def _close(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    """Assert that ``found`` is ``wanted`` (float64), up to rounding of ``dtype``."""
    spacing = torch.finfo(dtype).eps * wanted.abs().max().item() if wanted.numel() else 0.0
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, atol=8 * spacing, rtol=0)


@pytest.mark.parametrize(("dtype", "packed"), CASES)
@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_both_products_are_the_plain_ones(tokens: int, packed: bool, dtype: torch.dtype) -> None:
    shapes = ((tokens, 70), (tokens, 50), (50, 70), (50,))
    x, d_y, weight, bias = (_random(*shape).to(dtype) for shape in shapes)
    onto, held = _random(tokens, 70).to(dtype), Packed.of(weight) if packed else weight
    x64, d64, w64, onto64 = x.double(), d_y.double(), weight.double(), onto.double()
    _close(times(x, held), x64 @ w64.T, dtype)
    _close(times(x, held, bias), x64 @ w64.T + bias.double(), dtype)
    _close(back(d_y, held), d64 @ w64, dtype)
    _close(back(d_y, held, onto.clone()), onto64 + d64 @ w64, dtype)


@native
def test_a_packed_weight_gives_the_weight_back_bit_for_bit() -> None:
    weight = _random(50, 70).bfloat16()
    found = Packed.of(weight.T).dense()  # also of one that is not contiguous
    assert torch.equal(found, weight.T)


@native
def test_no_product_of_a_packed_weight_arranges_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused projections give the same bits with packed weights, and ask for no other form of them."""
    x = _random(33, 70).bfloat16().requires_grad_()
    weights = [_random(rows, 70).bfloat16() for rows in (50, 20, 20)]
    factors = [(_random(4, 70).float(), _random(len(weight), 4).float()) for weight in weights]
    found = []
    for held in (weights, [Packed.of(weight) for weight in weights]):
        monkeypatch.setattr(Packed, "dense", lambda self: pytest.fail("a packed weight was unpacked"))
        maps = [
            LoRAMap(lambda weight=weight: weight, None, a.requires_grad_(), b.requires_grad_(), 2.0)
            for weight, (a, b) in zip(held, factors)
        ]
        outs = lora_qkv(x, *maps)
        inputs = [x, *(factor for pair in factors for factor in pair)]
        found.append([*outs, *torch.autograd.grad([out.float().square().sum() for out in outs], inputs)])
    for plain, packed in zip(*found, strict=True):
        torch.testing.assert_close(packed, plain)


def test_a_weight_is_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "TOKENS", 8)
    weight = _random(50, 70).float()
    before = weight.clone()
    times(_random(9, 70).float(), weight)
    back(_random(9, 50).float(), weight, _random(9, 70).float())
    assert torch.equal(weight, before)
