"""LoRA adapters in PEFT's layout: their rank, and merging them into a model in memory.

LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021. DoRA: Liu et al.,
"DoRA: Weight-Decomposed Low-Rank Adaptation", 2024.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError
from ...contracts.peft_settings import check_original_base, size_of
from ...contracts.unmerged import unmerged_settings

if TYPE_CHECKING:
    import torch


#: The module that transformers reads a label from.
HEAD = "score"


def adapter_config(adapter: Path) -> dict[str, Any]:
    """Read the adapter's settings.

    Raises ModelError if they cannot be read, or it is no LoRA adapter of the original base.
    """
    if (beside := unmerged_settings(adapter)) is not None:
        raise ModelError(
            f"{adapter} has an adapter of kind {beside.get('kind')!r}, which is computed beside the weights: "
            "give the model engine: transformers"
        )
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
    check_original_base(adapter, config)
    return config


def adapter_rank(adapter: Path) -> int:
    """Return the largest rank of any of its layers."""
    config = adapter_config(adapter)
    return max([int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])


def has_head(adapter: Path) -> bool:
    """Does the adapter have the scalar head of a reward model?"""
    return HEAD in (adapter_config(adapter).get("modules_to_save") or ())


def merge(model: torch.nn.Module, adapter: Path) -> None:
    """Merge the adapter into the model, in place, and replace the tensors that it has whole.

    ``A``: float ``(rank, in)``, ``B``: float ``(out, rank)``; ``scale * B @ A`` is added in float32, scaled
    to DoRA's magnitudes if it has them, and rounded once to the type of the weight. Raises ModelError if the
    adapter cannot be merged exactly.
    """
    import torch
    from safetensors.torch import load_file

    config = adapter_config(adapter)
    if (config.get("bias") or "none") != "none":
        raise ModelError(
            f"{adapter}: the engine 'transformers' cannot merge an adapter with biases; use vllm"
        )
    try:
        tensors = load_file(str(adapter / "adapter_model.safetensors"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{adapter}: adapter_model.safetensors cannot be read ({error})") from None
    weights = dict(model.named_parameters(remove_duplicate=False))
    layers: dict[str, dict[str, torch.Tensor]] = {}
    with torch.no_grad():
        for name, tensor in tensors.items():
            place, factor, part = name.removeprefix("base_model.model.").partition(".lora_")
            if factor:
                layers.setdefault(place, {})[part.removesuffix(".weight")] = tensor
            elif place != "lm_head.weight" or not config.get("ensure_weight_tying"):  # else a copy
                _same_shape(adapter, place, weights.get(place), tuple(tensor.shape)).copy_(tensor)
        for place, factors in layers.items():
            _merge_layer(adapter, config, place, factors, weights.get(f"{place}.weight"))


def _merge_layer(
    adapter: Path, config: dict[str, Any], place: str, factors: dict[str, torch.Tensor], found: Any
) -> None:
    """Merge the factors of one layer into its weight; ``found`` is None if there is no such layer."""
    dora = bool(config.get("use_dora"))
    if factors.keys() != {"A", "B"} | ({"magnitude_vector"} if dora else set()):
        raise ModelError(f"{adapter}: {place} has the factors {', '.join(sorted(factors))}: is it damaged?")
    down, up = factors["A"].float(), factors["B"].float()
    weight = _same_shape(adapter, place, found, (up.shape[0], down.shape[1]))
    rank, alpha = size_of(place, config)
    if rank != len(down):
        raise ModelError(f"{adapter}: {place} has the rank {len(down)}, not {rank}: is it damaged?")
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    whole = weight.float() + (scale * (up @ down)).to(weight.device)
    if dora:
        gains = factors["magnitude_vector"].float().to(weight.device) / whole.norm(dim=1)
        whole *= gains[:, None]
    weight.copy_(whole)


def _same_shape(adapter: Path, place: str, weight: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the weight of the model. Raises ModelError if there is none of this shape."""
    if weight is None:
        raise ModelError(f"{adapter}: {place} fits no layer of the model: is it an adapter of another model?")
    if tuple(weight.shape) != shape:
        raise ModelError(
            f"{adapter}: {place} is {tuple(weight.shape)} in the model, {shape} in the adapter: is it an "
            "adapter of another model?"
        )
    found: torch.Tensor = weight
    return found
