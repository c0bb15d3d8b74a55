"""SVFT: the change is ``U M V^T`` with the weight's own singular vectors, and M has the given diagonals."""

from __future__ import annotations

import pytest
import torch

from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.svft import SVFT
from gristmill.trainer.model.linear import Linear


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
@pytest.mark.parametrize("band", [0, 2])
def test_the_change_is_sparse_in_the_basis_of_the_singular_vectors(shape: tuple[int, int], band: int) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    settings = AdapterSettings(kind="svft", svft_band=band)
    adapter = SVFT.over(Linear(weight, None, torch.float64), settings, 0, generator).double()
    x = torch.randn(3, shape[1], generator=generator, dtype=torch.float64)
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ weight.T)
    with torch.no_grad():
        adapter.bands.copy_(torch.randn(adapter.bands.shape, generator=generator))
    change = adapter.merged(weight) - weight
    torch.testing.assert_close(
        adapter(x, lambda: weight, None), x @ (weight + change).T, atol=1e-5, rtol=1e-5
    )
    u, _, vh = torch.linalg.svd(weight, full_matrices=False)
    m = u.T @ change @ vh.T
    torch.testing.assert_close(u @ m @ vh, change, atol=1e-5, rtol=1e-5)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    inside = (rows - columns).abs() <= band
    assert m[~inside].abs().sum() < 1e-4
    assert m[inside].abs().min() > 1e-3
    assert SVFT.count(settings, shape) == adapter.bands.numel()


def test_the_gradient_is_that_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    settings = AdapterSettings(kind="svft", svft_band=1)
    adapter = SVFT.over(Linear(weight, None, torch.float64), settings, 0, generator).double()
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    adapter.bands.data.normal_(generator=generator)
    assert torch.autograd.gradcheck(
        lambda x, bands: torch.func.functional_call(adapter, {"bands": bands}, (x, lambda: weight, None)),
        (x, adapter.bands),
    )
