"""Exact top k magnitudes compared with a stable sort, with ties, signs, zeros and odd sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gristmill.kernels import dispatch, top_k


def _sorted_mask(values: Tensor, k: int) -> Tensor:
    mask = torch.zeros(values.numel(), dtype=torch.bool)
    mask[torch.sort(values.reshape(-1).abs(), descending=True, stable=True).indices[:k]] = True
    return mask.view(values.shape)


@settings(max_examples=40)
@given(st.integers(0, 400), st.floats(0, 1), st.integers(0, 2**31), st.sampled_from([1, 3, 1000]))
def test_is_the_head_of_a_stable_sort(count: int, share: float, seed: int, levels: int) -> None:
    """Few levels give ties of both signs; magnitudes of many scales fill many bins."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator) * 10.0 ** torch.randint(
        -30, 30, (count,), generator=generator
    )
    if levels < 1000:
        values = torch.randint(-levels, levels + 1, (count,), generator=generator).float()
    k = round(share * count)
    mask = top_k.top_k_mask(values, k)
    assert int(mask.sum()) == k
    assert torch.equal(mask, _sorted_mask(values, k))


def test_sees_past_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k, "PART", 7)
    values = torch.tensor([1.0, -2.0, 2.0, 0.5] * 10)
    for k in (0, 1, 19, 20, 21, 40):
        assert torch.equal(top_k.top_k_mask(values, k), _sorted_mask(values, k))


def test_reads_views_in_their_own_order() -> None:
    values = torch.randn(9, 7).round(decimals=1).T
    mask = top_k.top_k_mask(values, 20)
    assert mask.shape == (7, 9)
    assert torch.equal(mask, _sorted_mask(values, 20))


def test_streams_over_tensors_as_over_one() -> None:
    parts = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (5, 0, 300, 1)]
    for k in (0, 1, 150, 306):
        assert top_k.streamed_threshold(lambda: iter(parts), k) == top_k.threshold(torch.cat(parts), k)


def test_zeros_and_subnormals_are_values_too() -> None:
    values = torch.tensor([0.0, 1e-45, -0.0, -1e-44])
    assert top_k.top_k_mask(values, 3).tolist() == [True, True, False, True]


@pytest.mark.parametrize("k", [-1, 4])
def test_refuses_an_impossible_k(k: int) -> None:
    with pytest.raises(ValueError, match="largest of 3 values"):
        top_k.top_k_mask(torch.ones(3), k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_refuses_values_that_are_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinities"):
        top_k.threshold(torch.tensor([1.0, bad, 2.0]), 1)


def test_refuses_another_dtype() -> None:
    with pytest.raises(ValueError, match="float32"):
        top_k.threshold(torch.ones(3, dtype=torch.bfloat16), 1)


@pytest.mark.parametrize("shape", [(0,), (1,), (4095,), (4097,), (33_000,), (7, 11)])
@pytest.mark.parametrize("ties", [False, True])
def test_triton_counts_as_the_plain_form(shape: tuple[int, ...], ties: bool, device: torch.device) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    values = values.round(decimals=1) if ties else values
    for k in {0, values.numel() // 3, values.numel()}:
        with dispatch.use("triton"):
            found = top_k.threshold(values, k), top_k.top_k_mask(values, k)
        assert found[0] == top_k.threshold(values.cpu(), k)
        assert torch.equal(found[1].cpu(), _sorted_mask(values.cpu(), k))


def test_triton_refuses_values_that_are_not_finite(device: torch.device) -> None:
    with dispatch.use("triton"), pytest.raises(ValueError, match="NaN or infinities"):
        top_k.threshold(torch.tensor([1.0, float("nan")], device=device), 1)


def test_cost_is_three_passes_and_the_mask() -> None:
    assert top_k.cost(1000).moved == 4 * 4000 + 1000
