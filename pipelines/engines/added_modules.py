"""Adapters that compute beside the weights, attached to a model of transformers in memory.

Bottlenecks around sublayers, in series (arXiv 1902.00751) or parallel (arXiv 2110.04366), and prefixes of
keys and values (arXiv 2101.00190), as the trainer writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError
from ...contracts.unmerged import unmerged_settings

if TYPE_CHECKING:
    import torch

WEIGHTS = "own_adapter.safetensors"
#: The first linear layers of the sublayers that end with a layer: their input is that of the sublayer.
FIRST = {
    "o_proj": ("q_proj", "qkv_proj"),
    "down_proj": ("gate_proj", "gate_up_proj"),
    "output_linear": ("input_linear",),
}
#: The name that transformers knows attention with a prefix by.
ATTENTION = "gristmill_prefix"


def attach(model: Any, adapter: Path) -> None:
    """Attach the adapter to the model, in place.

    Raises ModelError if it cannot be read, or does not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(adapter / WEIGHTS))
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{adapter} cannot be read ({error!r})") from None
    settings = unmerged_settings(adapter)
    if settings is None:
        raise ModelError(f"{adapter} is no adapter that is attached to a model: merge it")
    modules = dict(model.named_modules())
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        found.setdefault(f"model.{layer}", {})[part] = tensor.to(model.device, model.dtype)
    unknown = sorted(layer for layer in found if layer not in modules)
    if unknown:
        raise ModelError(f"{adapter}: {unknown[0]} fits no layer of the model: is it of another model?")
    try:
        for layer, parts in found.items():
            if "up" in parts:
                _around(modules, layer, parts["down"], parts["up"], settings)
        prefixed = {layer.rpartition(".")[0] for layer, parts in found.items() if "rows" in parts}
        for place in sorted(prefixed):
            _before(modules[place], *(found[f"{place}.{name}"]["rows"] for name in ("k_proj", "v_proj")))
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{adapter} does not fit the model ({error!r})") from None
    if prefixed:
        _use_prefixes(model)


def _around(
    modules: dict[str, Any], layer: str, down: torch.Tensor, up: torch.Tensor, settings: dict[str, Any]
) -> None:
    """Add a bottleneck to the output of ``layer``. ``down``: (r, hidden). ``up``: (hidden, r)."""
    from torch.nn import functional

    kinds: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "relu": functional.relu,
        "tanh": functional.tanh,
        "gelu": functional.gelu,
        "silu": functional.silu,
    }
    bend = kinds[settings["bottleneck_activation"]]
    scale = settings["alpha"] / len(down)
    parallel = settings["bottleneck_form"] == "parallel"
    place, _, short = layer.rpartition(".")
    inputs: list[torch.Tensor] = []

    def note(module: Any, given: tuple[torch.Tensor, ...]) -> None:
        inputs[:] = [given[0]]

    def add(module: Any, given: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
        x = inputs.pop() if parallel else y
        change: torch.Tensor = scale * functional.linear(bend(functional.linear(x, down)), up)
        return y + change

    if tuple(down.shape) != tuple(up.T.shape) or len(up) != modules[layer].out_features:
        raise KeyError(layer)
    if parallel:
        first = next(modules[f"{place}.{name}"] for name in FIRST[short] if f"{place}.{name}" in modules)
        first.register_forward_pre_hook(note)
    modules[layer].register_forward_hook(add)


def _before(attention: Any, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Give an attention layer its prefix. ``keys`` and ``values``: (P, key heads * D) each."""
    if keys.shape != values.shape or keys.shape[1] != attention.k_proj.out_features:
        raise KeyError("rows")
    heads = partial(
        lambda size, rows: rows.view(len(rows), -1, size).transpose(0, 1)[None], attention.head_dim
    )
    attention.prefix = heads(keys), heads(values)


def _use_prefixes(model: Any) -> None:
    """Let the model's attention read the prefixes of its layers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **how: Any
) -> Any:
    """Attention as transformers calls it: (batch, heads, tokens, D) each. All tokens see the prefix."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if attention_mask is None:  # causal
        queries, keys = query.shape[2], key.shape[2]
        seen = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
        attention_mask = seen.tril(keys - queries)[None, None]
    before = [rows.expand(len(key), -1, -1, -1) for rows in module.prefix]
    tokens = before[0].shape[2]
    always = True if attention_mask.dtype == torch.bool else 0.0
    attention_mask = torch.nn.functional.pad(attention_mask, (tokens, 0), value=always)
    key, value = (torch.cat([rows, part], dim=2) for rows, part in zip(before, (key, value)))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
