"""The number of kernels that a decoder layer launches on a GPU: PyTorch's operations and Triton's kernels.

PyTorch's profiler counts the operations, as each launches one kernel; Triton's kernels run interpreted.
Attention counts as its varlen form on a GPU, which does not run here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import attention, dispatch
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.rounded_factors import round_factors
from gristmill.trainer.model.decoder import Decoder

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts interpreted kernels")

#: Operations that launch nothing: views and allocations.
FREE = {
    "aten::alias", "aten::as_strided", "aten::chunk", "aten::contiguous", "aten::detach", "aten::empty",
    "aten::empty_like", "aten::empty_strided", "aten::expand", "aten::is_nonzero", "aten::matmul",
    "aten::narrow", "aten::new_empty", "aten::numpy_T", "aten::permute", "aten::promote_types",
    "aten::_reshape_alias", "aten::reshape", "aten::resolve_conj", "aten::resolve_neg", "aten::result_type",
    "aten::select", "aten::set_", "aten::slice", "aten::split", "aten::split_with_sizes", "aten::squeeze",
    "aten::t", "aten::to", "aten::transpose", "aten::unsqueeze", "aten::_unsafe_view", "aten::view",
}  # fmt: skip
#: Operations whose parts on a CPU are not those on a GPU.
WHOLE = {"aten::mm", "aten::addmm", "aten::addmm_", "aten::cat", "aten::mul"}
#: The kernel and the state of its random numbers; the gradients of q, k and v, summed over grouped heads.
ATTENTION = {"attention forward": 2, "attention backward": 6}


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mark Triton's launches and attention, so that the profiler shows each as one event."""
    from triton.runtime.interpreter import GridExecutor

    def mark(owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def outer(*given: Any, **more: Any) -> Any:
            with record_function(label):
                return inner(*given, **more)

        static = isinstance(owner.__dict__[name], staticmethod)
        monkeypatch.setattr(owner, name, staticmethod(outer) if static else outer)

    mark(GridExecutor, "__call__", "triton")
    for name in ("forward", "backward"):
        mark(attention._PackedAttention, name, f"attention {name}")
    with dispatch.use("triton"):
        yield


def count(run: Callable[[], object]) -> Counter[str]:
    """Return the launches of ``run`` by operation."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    found: Counter[str] = Counter()
    for event in profiler.events():
        if event.cpu_parent is None:
            found += _launches(event)
    return found


def _launches(event: Any) -> Counter[str]:
    if event.name in ATTENTION:
        return Counter({event.name: ATTENTION[event.name]})
    if event.name == "triton" or event.name in WHOLE:
        return Counter({event.name: 1})
    inner: Counter[str] = sum(map(_launches, event.cpu_children), Counter())
    if inner or not event.name.startswith("aten::") or event.name in FREE:
        return inner
    return Counter({event.name: 1})


def decoder(path: Path) -> Decoder:
    settings = AdapterSettings(rank=4, alpha=8)
    model = load_adapted(
        ModelWeights("base", path, "digest", None), settings, seed=0, dtype=torch.bfloat16,
        quantize="nf4", device=torch.device("cpu"),
    )  # fmt: skip
    return model.train()


def of_both_passes(model: Decoder) -> tuple[Counter[str], Counter[str]]:
    ids, lengths = torch.arange(7), [4, 3]
    kept: list[torch.Tensor] = []
    forward = count(lambda: kept.append(model(ids, lengths)))
    return forward, count(kept[0].sum().backward)


@pytest.fixture
def per_layer(make_model: Callable[..., Path]) -> tuple[Counter[str], Counter[str]]:
    """Launches of a LoRA layer over an NF4 base, forward and backward: of two layers without those of one."""
    found = []
    for layers in (1, 2):
        model = decoder(make_model(name=f"{layers}", num_hidden_layers=layers))
        for _, linear in model.linears():
            linear.lora_map()  # rounds the factors, as is done once per optimizer step
        found.append(of_both_passes(model))
    (few, few_back), (many, many_back) = found
    return many - few, many_back - few_back


def test_a_lora_layer_launches_at_most_40_kernels_forward_and_70_backward(
    per_layer: tuple[Counter[str], Counter[str]],
) -> None:
    forward, backward = per_layer
    assert forward["aten::mm"] > 10
    assert forward["triton"] >= 10  # 7 weights, 2 norms and more
    assert forward.total() <= 40, forward
    assert backward.total() <= 70, backward
    assert forward["aten::copy_"] + backward["aten::copy_"] <= 5  # conversions


def test_the_factors_of_all_layers_are_rounded_together(make_model: Callable[..., Path]) -> None:
    found = []
    for layers in (1, 3):
        model = decoder(make_model(name=f"{layers}", num_hidden_layers=layers))
        of_both_passes(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        adapters = [linear.adapter for _, linear in model.linears()]
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            round_factors(adapters)
        found.append(sum(event.name.startswith("aten::_foreach") for event in profiler.events()))
        assert not count(lambda model=model: [linear.lora_map() for _, linear in model.linears()])
    assert found == [3, 3]
