"""Reward models in the transformers engine: a head that gives a conversation one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError
from ...contracts.inference import Completion, ModelWeights
from .likelihood import GivenRow
from .peft_adapters import has_head

if TYPE_CHECKING:
    import torch


def load_reward_model(weights: ModelWeights, dtype: torch.dtype, device: str) -> Any:
    """Load a model with a scalar head. Raises ModelError if it has none, or cannot be loaded."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(str(weights.path))
        architectures = config.architectures or []
        if weights.adapter is not None and has_head(weights.adapter):
            config.num_labels = 1
        # transformers would make up a head where the weights have none.
        elif config.num_labels != 1 or not any("SequenceClassification" in name for name in architectures):
            raise ModelError(
                f"{weights.name} ({weights.path}) is not a reward model: it is {', '.join(architectures)} "
                f"with {config.num_labels} labels; a reward model has SequenceClassification and one label"
            )
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            str(weights.path), config=config, dtype=dtype
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"transformers cannot load {weights.name} ({weights.path}): {error}") from None
    return model.to(device).eval()


def rate(model: Any, rows: list[GivenRow]) -> None:
    """Answer all rows with their rewards. The prompt of a row is its whole conversation."""
    import torch

    pad = model.config.get_text_config().pad_token_id
    # Without a padding token, the model reads the score at the last place of a row, which padding would be.
    batches = [rows] if pad is not None else [[row] for row in rows]
    for batch in batches:
        width = max(len(row.prompt) for row in batch)
        tokens = torch.full((len(batch), width), pad or 0, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for index, row in enumerate(batch):
            tokens[index, : len(row.prompt)] = torch.tensor(row.prompt)
            mask[index, : len(row.prompt)] = 1
        with torch.inference_mode():
            logits = model(input_ids=tokens.to(model.device), attention_mask=mask.to(model.device)).logits
        for row, reward in zip(batch, logits[:, 0].float().tolist(), strict=True):
            row.answer(
                Completion(
                    request_id=row.request.id,
                    text="",
                    tokens=(),
                    finish="stop",
                    prompt_tokens=len(row.prompt),
                    reward=reward,
                )
            )
