"""Adapters in PEFT's layout: written, read, and checked after writing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import ModelError
from .linear import Linear
from .model import Decoder

PREFIX = "base_model.model.model."


def adapted(model: Decoder) -> dict[str, Linear]:
    """The linear layers that have an adapter, by name."""
    return {name: linear for name, linear in model.linears() if linear.adapter is not None}


def save_adapter(model: Decoder, directory: Path, config: dict[str, Any], probe: Tensor) -> None:
    """Write the model's adapters to ``directory`` as PEFT does, then load them back and compare.

    ``config``: PEFT's adapter settings (rank and so on). ``probe``: int64 (tokens,), one sequence. The directory appears
    whole or not at all. Raises ModelError where the logits of what was read back differ from the model's own.
    """
    from safetensors.torch import save_file

    tensors = {
        f"{PREFIX}{name}.{suffix}": tensor.detach().cpu().contiguous()
        for name, linear in adapted(model).items()
        for suffix, tensor in linear.adapter.state().items()  # type: ignore[union-attr, operator]
    }
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted({name.rsplit(".", 1)[1] for name in adapted(model)})
    full = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": False,
        "use_dora": False,
        "target_modules": targets,
        **config,
    }
    (temporary / "adapter_config.json").write_text(json.dumps(full, indent=2, sort_keys=True) + "\n")
    _check(model, temporary, probe)
    shutil.rmtree(directory, ignore_errors=True)
    temporary.rename(directory)


def load_adapter(model: Decoder, directory: Path) -> None:
    """Read PEFT adapters from ``directory`` into the model's own. Raises ModelError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(directory / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{directory}: cannot read adapter_model.safetensors ({error})") from None
    unread = set(tensors)
    for name, linear in adapted(model).items():
        wanted = f"{PREFIX}{name}."
        found = {key[len(wanted) :]: tensor for key, tensor in tensors.items() if key.startswith(wanted)}
        try:
            linear.adapter.load(found)  # type: ignore[union-attr, operator]
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{directory}: its adapter does not fit {name}: {error}") from None
        unread -= {wanted + suffix for suffix in found}
    if unread:
        raise ModelError(
            f"{directory}: adapts layers that this training does not: {', '.join(sorted(unread)[:3])}"
        )


def read_adapter_config(directory: Path) -> dict[str, Any]:
    """PEFT's settings of the adapter in ``directory``. Raises ModelError where there is none."""
    try:
        config: dict[str, Any] = json.loads((directory / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{directory}: cannot read adapter_config.json ({error})") from None
    return config


def _check(model: Decoder, directory: Path, probe: Tensor) -> None:
    with torch.no_grad():
        before = model.logits(probe, [len(probe)])
        kept = {name: linear.adapter.state() for name, linear in adapted(model).items()}  # type: ignore[union-attr, operator]
        kept = {
            name: {suffix: tensor.clone() for suffix, tensor in state.items()} for name, state in kept.items()
        }
        try:
            load_adapter(model, directory)
            after = model.logits(probe, [len(probe)])
        finally:
            for name, linear in adapted(model).items():
                linear.adapter.load(kept[name])  # type: ignore[union-attr, operator]
    apart = (before - after).abs().max().item()
    if not apart <= 1e-5 * max(1.0, before.abs().max().item()):
        raise ModelError(
            f"{directory}: the adapter read back gives other logits (largest difference {apart:.3g})"
        )
