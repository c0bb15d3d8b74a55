"""Our LoRA operations for vLLM's CPU build equal vLLM's own, where each token has an adapter.

vLLM's give a token without one (index -1) the last adapter; ours none, as vLLM's with an empty last one.
"""

from __future__ import annotations

import pytest
import torch

from gristmill.pipelines.engines import vllm_cpu_lora as ours

pytestmark = pytest.mark.engine
TOKENS, WIDTH, RANK, OUT = 37, 64, 16, 48
INDICES = [
    torch.zeros(TOKENS, dtype=torch.long),
    torch.arange(TOKENS) % 3,
    torch.tensor([-1] * 10 + [1] * (TOKENS - 10)),
]


@pytest.fixture(scope="module", autouse=True)
def theirs() -> object:
    torch.manual_seed(0)
    return pytest.importorskip("vllm.lora.ops.torch_ops", reason="vLLM is not installed")


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(TOKENS, WIDTH), torch.randn(3, 1, RANK, WIDTH), torch.randn(3, 1, OUT, RANK)


def _with_empty(weights: torch.Tensor) -> torch.Tensor:
    return torch.cat([weights, torch.zeros_like(weights[:1])])


@pytest.mark.parametrize("indices", INDICES, ids=["one adapter", "several", "none and one"])
@pytest.mark.parametrize("add", [True, False])
def test_decoding_operations(tensors, theirs, indices, add) -> None:
    inputs, down, up = tensors
    small = [torch.zeros(TOKENS, RANK) for _ in range(2)]
    theirs.bgmv_shrink(inputs, _with_empty(down), small[0], indices, 2.0)
    ours.bgmv_shrink(inputs, down, small[1], indices, 2.0)
    torch.testing.assert_close(small[1], small[0], atol=1e-3, rtol=1e-4)
    for name, extra in (("bgmv_expand", ()), ("bgmv_expand_slice", (5, OUT))):
        wide = [torch.ones(TOKENS, OUT + 12) for _ in range(2)]
        getattr(theirs, name)(small[0], _with_empty(up), wide[0], indices, *extra, add)
        getattr(ours, name)(small[0], up, wide[1], indices, *extra, add)
        torch.testing.assert_close(wide[1], wide[0], atol=1e-3, rtol=1e-4)


def test_prompt_operations(tensors, theirs) -> None:
    inputs, down, up = tensors
    sequences = (None, torch.tensor([10, 7, 20]), torch.tensor([0, 2, 1]), 3, 20, TOKENS)
    small = [torch.zeros(TOKENS, RANK) for _ in range(2)]
    theirs.sgmv_shrink(inputs, down, small[0], *sequences, 2.0)
    ours.sgmv_shrink(inputs, down, small[1], *sequences, 2.0)
    torch.testing.assert_close(small[1], small[0], atol=1e-3, rtol=1e-4)
    for name, extra in (("sgmv_expand", ()), ("sgmv_expand_slice", (5, OUT))):
        wide = [torch.ones(TOKENS, OUT + 12) for _ in range(2)]
        getattr(theirs, name)(small[0], up, wide[0], *sequences, *extra, True)
        getattr(ours, name)(small[0], up, wide[1], *sequences, *extra, True)
        torch.testing.assert_close(wide[1], wide[0], atol=1e-3, rtol=1e-4)


def test_they_take_the_place_of_those_that_the_wrapper_calls() -> None:
    import vllm.lora.punica_wrapper.punica_cpu as wrapper

    ours.install()
    assert wrapper.bgmv_expand is ours.bgmv_expand
    assert wrapper.sgmv_shrink is ours.sgmv_shrink
