"""Over a quantized base, no dequantized weight is kept for the backward pass, whatever is adapted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.trainer.adapters.adapter_names import KIND_OF, PREFIXED, TARGETS_OF, USED_BY
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import KINDS, class_over
from gristmill.trainer.base_checks import NEEDED
from gristmill.trainer.model import decoder as model_module
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.loading import load_model

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
#: So few tokens that every activation is smaller than every weight.
IDS, LENGTHS = torch.tensor([5, 9, 2, 7]), [1, 3]


def _every_choice() -> Iterator[tuple[str, ...]]:
    for count in range(1, len(LINEARS) + 1):
        yield from combinations(LINEARS, count)


def _fits(kind: str, targets: Sequence[str]) -> bool:
    """Whether the kind may be over these layers."""
    if kind == "loram":
        return {"gate_proj", "up_proj", "down_proj"} <= set(targets)
    if kind == "mam" and "down_proj" not in targets:
        return False
    allowed, _ = TARGETS_OF.get(kind, (LINEARS, ""))  # type: ignore[call-overload]
    return set(targets) <= set(allowed) and (kind not in ("prefix", "mam") or set(PREFIXED) <= set(targets))


def _adapt(model: Decoder, kind: str, targets: Sequence[str]) -> None:
    small = {name: value for name, value in (("rank", 2), ("alpha", 4)) if kind in USED_BY[name]}
    start = {"init": next((init for init, owner in KIND_OF.items() if owner == kind), "default")}
    own = {"l4q_group": 4, "prefix_tokens": 1}
    own = {name: value for name, value in own.items() if kind in USED_BY[name]}
    settings = AdapterSettings.model_validate({"kind": kind, "targets": targets, **small, **start, **own})
    generator = torch.Generator().manual_seed(2)
    for name, linear in model.linears():
        linear.adapter = None
        if name.rsplit(".", 1)[1] in targets:
            linear.adapter = class_over(kind, name).over(linear, settings, 2, generator)
            for parameter in linear.adapter.parameters():
                torch.nn.init.normal_(parameter, std=0.05, generator=generator)


def _large_saved_bytes(model: Decoder) -> int:
    """Return the bytes of saved tensors that are at least as large as the smallest dequantized weight.

    The model's own tensors, which exist anyway, do not count.
    """
    smallest = min(linear.weight().nbytes for _, linear in model.linears())
    own = {
        tensor.untyped_storage().data_ptr()
        for tensor in (*model.parameters(), *model.buffers(), model.embeddings)
    }
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.nbytes() >= smallest:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = model(IDS, LENGTHS)  # keeps the graph, so no two saved tensors share an address
    assert hidden.requires_grad
    return sum(found.values())


@pytest.fixture
def path(make_model: Callable[..., Path]) -> Path:
    return make_model("qwen2", num_hidden_layers=2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_set_of_targets_keeps_a_dequantized_weight(kind: str, path: Path) -> None:
    coded = [each for each in NEEDED.get(kind, ()) if each != "none"]  # type: ignore[call-overload]
    model = load_model(path, dtype=torch.float32, quantize=coded[0] if coded else "nf4")
    for targets in filter(partial(_fits, kind), _every_choice()):
        _adapt(model, kind, targets)
        assert _large_saved_bytes(model) == 0, targets


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_nor_over_the_other_formats(quantize: str, path: Path) -> None:
    model = load_model(path, dtype=torch.bfloat16, quantize=quantize)
    for targets in (("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj"), ("down_proj",)):
        _adapt(model, "lora", targets)
        assert _large_saved_bytes(model) == 0, targets


def _gradients(model: Decoder) -> list[Tensor]:
    loss = torch.nn.functional.cross_entropy(model.logits(IDS, LENGTHS)[:-1], IDS[1:])
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def _plain(self: Linear, x: Tensor) -> Tensor:
    """Compute the layer by the formula alone, with its dequantized weight and PyTorch's own gradients."""
    y = torch.nn.functional.linear(x, self.weight(), self.bias)
    if self.adapter is None:
        return y
    a, b = self.adapter.a.to(x.dtype), self.adapter.b.to(x.dtype)
    return y + self.adapter.scale * (x @ a.T) @ b.T


def test_gradients_are_those_of_the_plain_formula_for_every_set_of_targets(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the fused operations over projections of which only some have an adapter."""
    model = load_model(path, dtype=torch.float64, quantize="nf4")
    for targets in _every_choice():
        _adapt(model, "lora", targets)
        ours = _gradients(model)
        with monkeypatch.context() as patch:
            patch.setattr(model_module, "lora_maps", lambda *layers: None)
            patch.setattr(Linear, "forward", _plain)
            plain = _gradients(model)
        for found, wanted in zip(ours, plain, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-6 * wanted.abs().max().item(), rtol=1e-6)
