"""Activations of the blocks: kept, recomputed or offloaded, with bitwise equal gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.model.activations import SMALLEST, Activations, Offload, resident
from gristmill.trainer.model.decoder import Decoder

IDS = torch.randint(0, 300, (96,), generator=torch.Generator().manual_seed(3))
METHODS: dict[str, tuple[str, dict[str, Any], str, torch.dtype]] = {
    "lora with dropout": ("llama", {"rank": 4, "dropout": 0.3}, "none", torch.float32),
    "query and key norms, biases": ("qwen3", {"rank": 4}, "none", torch.float32),
    "dora on nf4 in bf16": ("llama", {"rank": 4, "kind": "dora"}, "nf4", torch.bfloat16),
    "dense deltas": ("qwen2", {"kind": "delta"}, "none", torch.float32),
    "half of the layers": ("llama", {"rank": 4, "targets": ("q_proj", "up_proj")}, "nf4", torch.float32),
}


def load(path: Path, adapter: dict[str, Any], quantize: str, dtype: torch.dtype) -> Decoder:
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings.model_validate(adapter),
        seed=1,
        dtype=dtype,
        quantize=quantize,
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def gradients(model: Decoder, kind: Activations) -> list[Tensor]:
    model.activations = kind
    torch.manual_seed(4)
    for parameter in model.parameters():
        parameter.grad = None
    device = model.embeddings.device
    hidden = model(IDS.to(device), [40, 56])
    hidden.float().square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["recompute", "offload"])
def test_the_gradients_are_the_same_to_the_bit(method: str, kind: Activations, make_model) -> None:
    family, *rest = METHODS[method]
    model = load(make_model(family), *rest).train()
    kept, found = gradients(model, "keep"), gradients(model, kind)
    assert len(kept) == len(list(model.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(kept, found))


def test_what_is_moved_is_what_autograd_would_have_kept_each_tensor_once(make_model) -> None:
    """Compare with the storages that autograd keeps, except the model's own and shared ones."""
    model = load(make_model(num_hidden_layers=3), {"rank": 4}, "none", torch.float32)
    stays = resident(model)
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in stays and tensor.nbytes >= SMALLEST:
            kept[storage.data_ptr()] = tensor  # kept alive, so that its address is not reused
        return tensor

    x = torch.randn(96, 64, requires_grad=True)
    angles = torch.rand(96, 8)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        for block in model.layers:
            x = block(x, angles.cos(), angles.sin(), [96])
    offload = Offload(stays)
    y = torch.randn(96, 64, requires_grad=True)
    for block in model.layers:
        y = offload(block, y, angles.cos(), angles.sin(), [96])
    assert y.requires_grad
    on_the_host = sum(moved.host.nbytes for block in offload._blocks for moved in block)
    assert on_the_host == sum(tensor.nbytes for tensor in kept.values()) > 3 * 96 * 64 * 4


def test_the_models_own_tensors_are_all_found(make_model) -> None:
    model = load(make_model("qwen2"), {"rank": 4, "kind": "dora"}, "none", torch.float32)
    found = resident(model)
    own = [*model.parameters(), *model.buffers(), model.embeddings, model.head, model.norm]
    for _, linear in model.linears():
        own += [linear.weight(), *([] if linear.bias is None else [linear.bias])]
    for block in model.layers:
        own += block.norms.values()
    assert {tensor.untyped_storage().data_ptr() for tensor in own} <= found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_offloading_gives_the_same_bits_in_less_memory(make_model) -> None:
    path = make_model(num_hidden_layers=12, hidden_size=512, intermediate_size=1408)
    model = load(path, {"rank": 4}, "none", torch.float32)
    model = model.to("cuda")
    for name in ("embeddings", "head", "norm", "frequencies"):
        setattr(model, name, getattr(model, name).cuda())
    for block in model.layers:
        block.norms = {name: norm.cuda() for name, norm in block.norms.items()}
    for _, linear in model.linears():
        linear.base = linear.base.cuda()
    peaks, found = [], []
    for kind in ("keep", "offload"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found.append(gradients(model, kind))
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert all(torch.equal(one, other) for one, other in zip(*found))
    assert peaks[1] < 0.5 * peaks[0]
