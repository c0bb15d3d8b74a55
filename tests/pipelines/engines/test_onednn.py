"""Linear layers by oneDNN."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gristmill.pipelines.engines.onednn import use_onednn

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (2, 3, 48), (0, 48)])
def test_products_are_onednns_and_equal(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(48, 7, bias=bias))
    given = torch.randn(shape)
    with torch.inference_mode():
        expected = layer(given)
        use_onednn(layer)
        with torch.profiler.profile() as profile:
            found = layer(given)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    names = {each.key for each in profile.key_averages()}
    assert ("mkldnn::_linear_pointwise" in names) == (given.numel() > 0)


def test_other_layers_and_gradients_are_as_before() -> None:
    layers = nn.ModuleList([nn.Linear(4, 4, dtype=torch.bfloat16), nn.LayerNorm(4), nn.Linear(4, 4)])
    use_onednn(layers)
    assert [type(each) is kind for each, kind in zip(layers, (nn.Linear, nn.LayerNorm, nn.Linear))] == [
        True,
        True,
        False,
    ]
    layers[2](torch.ones(2, 4)).sum().backward()
    assert layers[2].weight.grad.abs().sum() > 0
