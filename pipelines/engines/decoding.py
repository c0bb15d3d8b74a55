"""The decoding loop of the transformers engine: a static batch, left-padded, with one seed per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...contracts.inference import Completion, Request
from .combining import empty_cache
from .sampling import choose
from .thought_budget import Thought

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Row:
    """One request being decoded. ``wanted``: false once its caller was cancelled. ``thought``: of a limited
    length."""

    request: Request
    prompt: list[int]
    answer: Callable[[Completion], object]
    wanted: Callable[[], bool]
    generator: torch.Generator
    thought: Thought | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[tuple[float, ...]] = field(default_factory=list)
    texts: list[tuple[str, ...]] = field(default_factory=list)


def decode(model: Any, tokenizer: Any, rows: list[Row], ends: frozenset[int]) -> None:
    """Decode all rows, answering each when it is finished. ``ends``: tokens that end a turn."""
    import torch

    tokens, mask = padded(rows, model.device)
    cache = empty_cache(model)
    with torch.inference_mode():
        while rows:
            logits = model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=places_of(mask)[:, -tokens.shape[1] :],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            going = [
                index
                for index, row in enumerate(rows)
                if row.wanted() and not extend(row, logits[index].float(), tokenizer, ends)
            ]
            rows, mask = kept(going, rows, mask, cache)
            tokens = torch.tensor([[row.tokens[-1]] for row in rows], device=model.device)
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)


def padded(rows: list[Row], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of the prompts and the mask of the places that hold one, padded on the left."""
    import torch

    width = max(len(row.prompt) for row in rows)
    tokens = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, width - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[index, width - len(row.prompt) :] = 1
    return tokens.to(device), mask.to(device)


def places_of(mask: torch.Tensor) -> torch.Tensor:
    """The position of each token in its row, from 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def kept(going: list[int], rows: list[Row], mask: torch.Tensor, cache: Any) -> tuple[list[Row], torch.Tensor]:
    """The rows that are not finished, and their mask. The others leave the cache."""
    import torch

    if len(going) == len(rows):
        return rows, mask
    keep = torch.tensor(going, dtype=torch.long, device=mask.device)
    if going:
        cache.batch_select_indices(keep)
    return [rows[index] for index in going], mask[keep]


def extend(row: Row, logits: torch.Tensor, tokenizer: Any, ends: frozenset[int]) -> bool:
    """Add one token to the row. Return true if that finished the row and its answer was sent."""
    import torch

    sampling = row.request.sampling
    due = None if row.thought is None else row.thought.due()
    token = choose(logits, sampling, row.generator, [*row.prompt, *row.tokens]) if due is None else due
    row.tokens.append(token)
    if row.thought is not None:
        row.thought.add(row.tokens)
    if sampling.logprobs is not None:
        logprobs = torch.log_softmax(logits, dim=-1)
        row.logprobs.append(float(logprobs[token]))
        top = logprobs.topk(sampling.logprobs)
        row.top.append(tuple(top.values.tolist()))
        if sampling.top_texts:
            row.texts.append(tuple(tokenizer.batch_decode(top.indices[:, None].tolist())))
    if token in ends:
        return _finish(row, _text(row.tokens[:-1], tokenizer), "stop")
    if sampling.stop:
        text = _text(row.tokens, tokenizer)
        cut = min((at for at in (text.find(end) for end in sampling.stop if end) if at >= 0), default=-1)
        if cut >= 0:
            return _finish(row, text[:cut], "stop")
    if len(row.tokens) >= sampling.max_tokens:
        return _finish(row, _text(row.tokens, tokenizer), "length")
    return False


def _text(tokens: list[int], tokenizer: Any) -> str:
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return text


def _finish(row: Row, text: str, finish: str) -> bool:
    asked = row.request.sampling.logprobs is not None
    row.answer(
        Completion(
            request_id=row.request.id,
            text=text,
            tokens=tuple(row.tokens),
            finish=finish,
            prompt_tokens=len(row.prompt),
            logprobs=tuple(row.logprobs) if asked else None,
            top_logprobs=tuple(row.top) if asked else None,
            top_texts=tuple(row.texts) if asked and row.request.sampling.top_texts else None,
        )
    )
    return True
