"""Sampling of one token per row, from the row's own logits and random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...contracts.inference import Sampling

if TYPE_CHECKING:
    import torch


def choose(
    logits: torch.Tensor, sampling: Sampling, generator: torch.Generator, before: Sequence[int]
) -> int:
    """Return the next token.

    ``logits``: float32 ``(vocabulary,)``, not modified. ``before``: tokens of the prompt and the answer so
    far.

    The order is vLLM's: repetition penalty (Keskar et al., CTRL, 2019), temperature, min-p (Nguyen et
    al., 2024), top-k (Fan et al., 2018), top-p (Holtzman et al., 2020).
    """
    import torch

    if sampling.repetition_penalty != 1.0:
        logits = logits.clone()
        seen = torch.tensor(sorted(set(before)), device=logits.device)
        value = logits[seen]
        penalty = sampling.repetition_penalty
        logits[seen] = torch.where(value > 0, value / penalty, value * penalty)
    if sampling.temperature <= 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.min_p > 0:
        probabilities = probabilities * (probabilities >= sampling.min_p * probabilities.max())
    if sampling.top_k > 0 or sampling.top_p < 1:
        count = min(sampling.top_k, logits.numel()) if sampling.top_k > 0 else logits.numel()
        values, tokens = torch.topk(probabilities, count)  # in descending order
        values = values / values.sum()
        if sampling.top_p < 1:
            # The smallest set that reaches top_p: the mass before each of its tokens is below top_p.
            values = values * (values.cumsum(0) - values < sampling.top_p)
        return int(tokens[torch.multinomial(values, 1, generator=generator)])
    return int(torch.multinomial(probabilities, 1, generator=generator))
