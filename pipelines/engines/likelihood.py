"""Log-probabilities of given texts, for the transformers engine: forward passes over batches of rows.

Memory is bounded: the logits of a whole batch (rows x positions x vocabulary) would take gigabytes, so they
are computed for a few positions at a time, with the keys and values of earlier positions cached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.inference import Completion, Request
from .combining import empty_cache, logits_at_a_place

if TYPE_CHECKING:
    import torch

#: Maximum number of logits computed at once (float32: 256 MiB).
LOGITS = 64 * 2**20


@dataclass(frozen=True, slots=True)
class GivenRow:
    """One text to score: the tokens of its prompt, at least one, and its own."""

    request: Request
    prompt: list[int]
    given: list[int]
    answer: Callable[[Completion], object]


def score(model: Any, rows: list[GivenRow]) -> None:
    """Answer all rows, each with the log-probability (nats) of each token of its text."""
    import torch

    with torch.inference_mode():
        logprobs = _token_logprobs(model, [[*row.prompt, *row.given] for row in rows], _first(rows))
    for row, values in zip(rows, logprobs.tolist(), strict=True):
        start = len(row.prompt) - 1 - _first(rows)
        row.answer(
            Completion(
                request_id=row.request.id,
                text=row.request.continuation or "",
                tokens=tuple(row.given),
                finish="stop",
                prompt_tokens=len(row.prompt),
                logprobs=tuple(values[start : start + len(row.given)]),
            )
        )


def _first(rows: list[GivenRow]) -> int:
    """Return the first position whose prediction any row needs: that of the last token of a prompt."""
    return min(len(row.prompt) for row in rows) - 1


def _token_logprobs(model: Any, sequences: list[list[int]], first: int) -> torch.Tensor:
    """Return the log-probability of the token after each position, from position ``first`` on.

    Float32 ``(rows, width - 1 - first)``. Rows are padded on the right, where causal attention keeps padding
    from changing anything before it.
    """
    import torch

    width = max(len(tokens) for tokens in sequences)
    tokens = torch.zeros((len(sequences), width), dtype=torch.long)
    for index, ids in enumerate(sequences):
        tokens[index, : len(ids)] = torch.tensor(ids)
    tokens = tokens.to(model.device)
    cache = empty_cache(model)
    found = torch.empty((len(sequences), width - 1 - first), device=model.device)
    if first:
        model(input_ids=tokens[:, :first], past_key_values=cache, use_cache=True, logits_to_keep=1)
    step = max(1, LOGITS // (len(sequences) * logits_at_a_place(model)))
    for start in range(first, width - 1, step):
        stop = min(start + step, width - 1)
        logits = model(input_ids=tokens[:, start:stop], past_key_values=cache, use_cache=True).logits.float()
        chosen = logits.gather(2, tokens[:, start + 1 : stop + 1, None])[:, :, 0]
        found[:, start - first : stop - first] = chosen - logits.logsumexp(-1)
    return found
