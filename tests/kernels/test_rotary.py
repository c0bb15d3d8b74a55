"""Rotary embedding of queries and keys in both forms: rotation by the angle, and the gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels import rotary
from gristmill.kernels.rotary import rotate


def _random(*shape: int, seed: int = 0, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device)


def _by_complex(x: Tensor, angles: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = (
        torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)[:, None]
    )
    return torch.cat([turned.real, turned.imag], dim=-1)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("tokens", "heads", "key_heads", "size"), [(5, 2, 1, 6), (1, 3, 3, 2), (4, 9, 3, 64), (0, 2, 1, 4)]
)
@pytest.mark.parametrize("in_place", [False, True])
def test_turns_pairs_by_their_angle(
    tokens: int, heads: int, key_heads: int, size: int, in_place: bool, device: torch.device
) -> None:
    q, k = (_random(tokens, count, size, device=device) for count in (heads, key_heads))
    angles = _random(tokens, size // 2, device=device)
    expected = _by_complex(q, angles), _by_complex(k, angles)
    torch.testing.assert_close(rotate(q, k, angles.cos(), angles.sin(), in_place=in_place), expected)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("in_place", [False, True])
def test_gradcheck(in_place: bool, device: torch.device) -> None:
    q, k = (_random(2, heads, 2, device=device).requires_grad_() for heads in (2, 1))
    angles = _random(2, 1, device=device)

    def turned(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return rotate(q * 2, k + 1, angles.cos(), angles.sin(), in_place=in_place)

    assert torch.autograd.gradcheck(turned, (q, k))


def test_in_place_takes_no_new_storage_and_autograd_notices(device: torch.device) -> None:
    from gristmill.kernels import dispatch

    q, k = (_random(3, heads, 4, device=device).requires_grad_() for heads in (3, 2))
    angles = _random(3, 2, device=device)
    with dispatch.use("triton"):
        squared = q.square()
        roots = squared.sqrt()  # saves its result, which the rotation then overwrites
        turned, _ = rotate(roots, k * 1, angles.cos(), angles.sin(), in_place=True)
        assert turned.data_ptr() == roots.data_ptr()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(turned.sum(), q)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("in_place", [False, True])
def test_reads_views_of_a_fused_projection(in_place: bool, device: torch.device) -> None:
    fused, angles = _random(5, 6, 4, device=device), _random(5, 2, device=device)
    q, k = fused[:, :4], fused[:, 4:].transpose(1, 2).contiguous().transpose(1, 2)
    expected = _by_complex(q, angles), _by_complex(k, angles)
    cosines, sines = (part.T.contiguous().T for part in (angles.cos(), angles.sin()))
    torch.testing.assert_close(rotate(q, k, cosines, sines, in_place=in_place), expected)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("in_place", [False, True])
def test_fewer_angles_turn_only_the_first_values(in_place: bool, device: torch.device) -> None:
    q, k = (_random(5, heads, 10, device=device).requires_grad_() for heads in (2, 1))
    angles = _random(5, 3, device=device)
    turned = rotate(q * 1, k * 1, angles.cos(), angles.sin(), in_place=in_place)
    expected = tuple(torch.cat([_by_complex(x[..., :6], angles), x[..., 6:]], 2) for x in (q, k))
    torch.testing.assert_close(turned, expected)
    sums = (sum((part * part.detach().cos()).sum() for part in pair) for pair in (turned, expected))
    torch.testing.assert_close(*(torch.autograd.grad(total, (q, k)) for total in sums))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_plain_products_of_that_precision(dtype: torch.dtype, device: torch.device) -> None:
    q, angles = _random(7, 3, 32, device=device).to(dtype), _random(7, 16, device=device)
    cosines, sines = angles.cos().to(dtype), angles.sin().to(dtype)
    first, second = q.chunk(2, dim=-1)
    a, b = cosines[:, None], sines[:, None]
    plain = torch.cat((first * a - second * b, second * a + first * b), dim=-1)
    first, second, a, b = (part.double() for part in (first, second, a, b))
    truth = torch.cat((first * a - second * b, second * a + first * b), dim=-1)
    found, _ = rotate(q, q, cosines, sines)
    assert found.dtype == dtype
    assert (found - truth).abs().mean() <= (plain - truth).abs().mean() + 1e-8


def test_refuses_shapes_that_do_not_go_together() -> None:
    q, k, angles = torch.ones(2, 3, 4), torch.ones(2, 1, 4), torch.ones(2, 2)
    for wrong in (
        (q[:1], k, angles, angles),
        (q[..., :3], k[..., :3], angles, angles),
        (q, k, angles, angles[:1]),
    ):
        with pytest.raises(ValueError, match="must be"):
            rotate(*wrong)


def test_cost_reads_and_writes_each_head_once() -> None:
    found = rotary.cost(8192, 40, 128, 2)
    assert found.moved == 2 * 8192 * 40 * 128 * 2 + 8192 * 128 * 2
