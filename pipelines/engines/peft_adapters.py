"""LoRA adapters in PEFT's layout: their rank, and merging them into a model in memory.

LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError

if TYPE_CHECKING:
    import torch


#: The module that transformers reads a label from.
HEAD = "score"


def adapter_config(adapter: Path) -> dict[str, Any]:
    """Read the adapter's settings. Raises ModelError if they cannot be read or it is not a LoRA adapter."""
    try:
        config: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{adapter} is not an adapter: adapter_config.json cannot be read ({error})"
        ) from None
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{adapter}: only LoRA adapters can be served; this one is {config.get('peft_type')!r}"
        )
    return config


def adapter_rank(adapter: Path) -> int:
    """Return the largest rank of any of its layers."""
    config = adapter_config(adapter)
    return max([int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])


def has_head(adapter: Path) -> bool:
    """Does the adapter have the scalar head of a reward model?"""
    return adapter_config(adapter).get("modules_to_save") == [HEAD]


def merge(model: torch.nn.Module, adapter: Path) -> None:
    """Add ``scale * B @ A`` to each weight that the adapter changes, and replace its head, in place.

    ``A``: float ``(rank, in)``, ``B``: float ``(out, rank)``; the product is computed in float32 and
    rounded once to the type of the weight. Raises ModelError if the adapter cannot be merged exactly.
    """
    import torch
    from safetensors.torch import load_file

    config = adapter_config(adapter)
    for setting in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save"):
        headed = setting == "modules_to_save" and has_head(adapter) and hasattr(model, HEAD)
        if config.get(setting) and not headed:
            raise ModelError(
                f"{adapter}: the engine 'transformers' cannot merge an adapter with {setting}; use vllm"
            )
    if (config.get("bias") or "none") != "none":
        raise ModelError(
            f"{adapter}: the engine 'transformers' cannot merge an adapter with biases; use vllm"
        )
    try:
        tensors = load_file(str(adapter / "adapter_model.safetensors"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{adapter}: adapter_model.safetensors cannot be read ({error})") from None
    rank = int(config["r"])
    scale = float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)
    modules = dict(model.named_modules())
    merged = _replace_head(model, tensors, adapter) if has_head(adapter) else 0
    for name, down in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        up = tensors.get(name.replace(".lora_A.", ".lora_B."))
        if target not in modules or up is None:
            raise ModelError(
                f"{adapter}: {name} fits no layer of the model: is it an adapter of another model?"
            )
        weight = modules[target].weight
        assert isinstance(weight, torch.Tensor)
        if weight.shape != (up.shape[0], down.shape[1]):
            raise ModelError(
                f"{adapter}: {target} is {tuple(weight.shape)} in the model, "
                f"{(up.shape[0], down.shape[1])} in the "
                "adapter: is it an adapter of another model?"
            )
        with torch.no_grad():
            delta = scale * (up.float() @ down.float())
            weight.copy_(weight.float() + delta.to(weight.device))
        merged += 2
    if merged != len(tensors):
        raise ModelError(
            f"{adapter}: {len(tensors) - merged} of its {len(tensors)} tensors are not LoRA matrices"
        )


def _replace_head(model: Any, tensors: dict[str, torch.Tensor], adapter: Path) -> int:
    """Replace the scalar head of the model. Returns the number of tensors used."""
    import torch

    weight = tensors.get(f"base_model.model.{HEAD}.weight")
    own = getattr(model, HEAD).weight
    if weight is None or weight.shape != own.shape:
        raise ModelError(f"{adapter}: it has no head of the shape {tuple(own.shape)}: is it damaged?")
    with torch.no_grad():
        own.copy_(weight)
    return 1
