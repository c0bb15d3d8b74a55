"""The fused LoRA operations in the model: the same loss and gradients as layer by layer, in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import dispatch
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.model import decoder as model_module
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.linear import lora_maps

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))
LENGTHS = [20, 28]


def _load(path, dtype: torch.dtype = torch.float32, quantize: str = "none", **adapter: object) -> Decoder:
    settings = AdapterSettings.model_validate({"rank": 4, "alpha": 6, **adapter})
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=dtype, quantize=quantize)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    return model


def _loss_and_gradients(model: Decoder, tokens: int = 48) -> list[Tensor]:
    ids, lengths = IDS[:tokens], [2, tokens - 2]
    loss = torch.nn.functional.cross_entropy(model.logits(ids, lengths)[:-1], ids[1:])
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.fixture
def layer_by_layer(monkeypatch: pytest.MonkeyPatch):
    """Return a function that disables fused operations."""

    def stop() -> None:
        monkeypatch.setattr(model_module, "lora_maps", lambda *layers: None)

    return stop


#: Tolerance relative to a tensor's largest gradient: the effect of the order of sums in float32, and of the
#: factors' float32 gradients in float64.
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-7}


def _assert_the_same(model: Decoder, fused: list[Tensor], dtype: torch.dtype) -> None:
    for ours, apart in zip(fused, _loss_and_gradients(model), strict=True):
        torch.testing.assert_close(ours, apart, atol=CLOSE[dtype] * apart.abs().max().item(), rtol=1e-6)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {"kind": "rslora"}),
        ("qwen2", {"targets": ("q_proj", "v_proj", "down_proj")}),
    ],
)
def test_loss_and_gradients_are_those_of_layer_by_layer(
    family: str, changes: dict[str, object], dtype: torch.dtype, make_model, layer_by_layer
) -> None:
    model = _load(make_model(family), dtype, **changes)
    for block in model.layers:
        attention, mlp = block.self_attn, block.mlp
        assert lora_maps(*(attention[name] for name in ("q_proj", "k_proj", "v_proj"))) is not None
        assert lora_maps(*mlp.values()) is not None
    found = []
    for recompute in (False, True):
        model.activations = "recompute" if recompute else "keep"
        found.append(_loss_and_gradients(model))
    layer_by_layer()
    for fused in found:
        _assert_the_same(model, fused, dtype)


@pytest.mark.parametrize("quantize", ["nf4", "int8", "int4"])
def test_over_a_quantized_base_too(quantize: str, make_model, layer_by_layer) -> None:
    model = _load(make_model(), torch.float64, quantize=quantize)
    fused = _loss_and_gradients(model)
    layer_by_layer()
    _assert_the_same(model, fused, torch.float64)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_block_on_triton_kernels_computes_as_on_the_plain_ones(kind: str, make_model) -> None:
    """All kernels of a block together, in place where possible, and recomputed in the backward pass."""
    model = _load(make_model("qwen3", num_hidden_layers=1), quantize="nf4", kind=kind)
    model.activations = "recompute"
    plain = _loss_and_gradients(model, 5)
    with dispatch.use("triton"):
        found = _loss_and_gradients(model, 5)
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * theirs.abs().max().item(), rtol=1e-5)


def test_what_is_more_than_a_low_rank_change_runs_layer_by_layer(make_model) -> None:
    path = make_model()
    for adapter in ({"kind": "dora"}, {"dropout": 0.5}):
        model = _load(path, **adapter)
        assert lora_maps(*model.layers[0].mlp.values()) is None
    # In evaluation mode there is no dropout.
    assert lora_maps(*model.eval().layers[0].mlp.values()) is not None
    # Hooks on a layer are called.
    seen = []
    model.layers[0].mlp["up_proj"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    model.logits(IDS, LENGTHS)
    assert seen == [(48, 64)]


def _saved_bytes(model: Decoder) -> int:
    own = {parameter.data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # The result keeps the graph and all saved tensors alive, so no two have the same address.
        hidden = model(IDS, LENGTHS)
    assert hidden.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fused_block_saves_less_by_the_product_of_its_mlp(
    dtype: torch.dtype, make_model, layer_by_layer
) -> None:
    model = _load(make_model(), dtype)
    fused = _saved_bytes(model)
    layer_by_layer()
    product = len(IDS) * model.config.intermediate * dtype.itemsize
    assert _saved_bytes(model) - fused == model.config.layers * product
