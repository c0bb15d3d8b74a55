"""A second, frozen model as a teacher."""

from __future__ import annotations

import torch

from ...contracts.errors import ModelError
from ...contracts.inference import ModelWeights
from ..adapters.load_adapted import load_saved
from ..forecast.memory_plan import block_weights
from ..model.decoder import Decoder
from ..model.loading import load_model
from ..model.model_config import ModelConfig
from ..model.quantization import Quantization
from ..model.weight_formats import FORMATS


def check_tokenizers(teacher: ModelWeights, student: ModelWeights) -> None:
    """Raise ModelError if the two models have different tokenizers."""
    from transformers import AutoTokenizer

    one, other = (AutoTokenizer.from_pretrained(weights.path).get_vocab() for weights in (teacher, student))
    if one != other:
        raise ModelError(
            f"the teacher {teacher.name!r} and {student.name!r} have different tokenizers ({len(one)} and "
            f"{len(other)} tokens, or other ids), so their predictions cannot be compared; choose a teacher "
            "of the same family"
        )


def load_teacher(
    weights: ModelWeights, *, dtype: torch.dtype, quantize: Quantization, device: torch.device
) -> Decoder:
    """Load the teacher, with its adapter if it has one, frozen and without dropout."""
    if weights.adapter is None:
        model = load_model(weights.path, dtype=dtype, quantize=quantize, device=device)
    else:
        model = load_saved(weights, dtype=dtype, quantize=quantize, device=device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def teacher_bytes(weights: ModelWeights, *, bytes_per_value: int, quantize: Quantization) -> int:
    """Return the bytes of memory that the teacher takes, without its adapter."""
    config = ModelConfig.read(weights.path)
    blocks = block_weights(config)
    embeddings = config.vocabulary * config.hidden * (1 if config.tied else 2)
    held = FORMATS.get(quantize)
    return embeddings * bytes_per_value + int(blocks * (held.bytes_per_weight if held else bytes_per_value))
