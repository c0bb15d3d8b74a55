"""Whether frozen weights are packed once for the CPU's matrix products."""

from __future__ import annotations

from pathlib import Path

import torch

from ...contracts.number_formats import fast_bfloat16
from ..device import free_memory
from ..model.model_config import ModelConfig
from ..model.quantization import OWN_PRODUCTS
from ..settings import TrainSettings
from .chosen import chosen
from .memory_plan import block_weights

#: Copies of a packed weight: one for each pass.
COPIES = 2


def choose_packed(step: TrainSettings, config: ModelConfig, device: torch.device, kept: Path) -> bool:
    """Return whether the frozen weights of linear layers are packed; see the option ``prepack_weights``.

    ``kept``: the file that holds what was chosen, so that a training that goes on computes as it began. All
    processes must call it.
    """
    wanted = step.prepack_weights
    if wanted is False or not step.adapter.low_rank or step.number_format() != "bf16" or device.type != "cpu":
        return False
    if step.quantize in OWN_PRODUCTS or (step.optimizer == "mezo" and step.mezo.estimate == "forward"):
        return False  # oneDNN's products carry no tangents
    if wanted == "auto" and step.quantize != "none" and step.cache_dequantized is False:
        return False

    def fits() -> bool:  # processes may have other processors and other memory
        room = wanted is True or packed_bytes(step, config) < free_memory(device) / 4
        return room and fast_bfloat16()

    return bool(chosen(kept, "packed", fits))


def packed_bytes(step: TrainSettings, config: ModelConfig) -> int:
    """Return the bytes of the packed weights."""
    return COPIES * block_weights(config) * step.torch_dtype().itemsize
