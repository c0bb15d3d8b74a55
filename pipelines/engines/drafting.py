"""Speculative decoding with several models: the small tuned one drafts, the combined distribution decides.

The draft model guesses ``count`` tokens one by one; every other model reads them all in one pass. Each token
is then chosen from the combined logits with the row's own random generator, exactly as without a draft; a row
keeps its choices up to the first that was not guessed. So a draft changes the speed and not the tokens, in
contrast to speculative sampling (Leviathan et al., 2211.17192), which keeps the distribution alone.

A guess is chosen with the noise of the choice that it foretells. Both are the maximum of a probability over
an exponential variate of its token, so that close distributions mostly choose the same token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .combining import CombinedCache, JointModel
from .decoding import Row, extend, kept, padded, places_of
from .sampling import choose

if TYPE_CHECKING:
    import torch


def decode_drafted(
    model: JointModel, tokenizer: Any, rows: list[Row], ends: frozenset[int], count: int
) -> None:
    """Decode all rows, answering each when it is finished. ``ends``: tokens that end a turn."""
    import torch

    tokens, mask = padded(rows, model.device)
    cache = model.empty_cache()
    given = {"position_ids": places_of(mask), "use_cache": True, "logits_to_keep": 1}
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=mask, past_key_values=cache, **given).logits
        guesses = [[0] for _ in rows]
        while rows:
            used = [
                _accept(row, logits[index], guesses[index], tokenizer, ends) for index, row in enumerate(rows)
            ]
            if logits.shape[1] > 1:
                mask = torch.cat([mask, _valid(used, logits.shape[1], mask)], dim=1)
            going = [index for index, number in enumerate(used) if number]
            rows, mask = kept(going, rows, mask, cache)
            if rows:
                guesses, logits = _round(model, rows, mask, cache, count)


def _accept(row: Row, logits: torch.Tensor, guessed: list[int], tokenizer: Any, ends: frozenset[int]) -> int:
    """Choose tokens up to the first that was not guessed. Returns their number; 0 if the row is finished.

    ``logits``: ``(places, vocabulary)``; ``guessed``: the token after each but the last.
    """
    for place in range(len(logits)):
        if not row.wanted() or extend(row, logits[place], tokenizer, ends):
            return 0
        if place + 1 == len(logits) or row.tokens[-1] != guessed[place]:
            return place + 1
    return 0


def _valid(used: list[int], width: int, mask: torch.Tensor) -> torch.Tensor:
    """The mask of the last round's columns: what was guessed wrong stays in the cache, unseen."""
    import torch

    columns = torch.arange(width, device=mask.device)
    return (columns < torch.tensor(used, device=mask.device)[:, None]).to(mask.dtype)


def _round(
    model: JointModel, rows: list[Row], mask: torch.Tensor, cache: CombinedCache, count: int
) -> tuple[list[list[int]], torch.Tensor]:
    """Guess ``count`` tokens of each row. Returns them, and the combined logits after each token and before.

    Logits: float32 ``(rows, count + 1, vocabulary)``.
    """
    import torch

    seen = torch.cat([mask, mask.new_ones((len(rows), count + 1))], dim=1)
    places = places_of(seen)[:, -count - 1 :]
    if model.positions is not None:
        places = places.clamp(max=model.positions - 1)  # beyond lie only guesses that cannot be kept
    drafter = model.plus[0]
    guesses: list[list[int]] = [[] for _ in rows]
    generators = [_copy(row.generator) for row in rows]
    inputs = [[row.tokens[-1]] for row in rows]
    drafted = []
    for number in range(count + 1):
        end = mask.shape[1] + number + 1
        logits = model.models[drafter](
            input_ids=torch.tensor([each[-1:] for each in inputs], device=mask.device),
            attention_mask=seen[:, :end],
            position_ids=places[:, number : number + 1],
            past_key_values=cache.caches[drafter],
            use_cache=True,
        ).logits
        drafted.append(logits)
        if number < count:
            for index, row in enumerate(rows):
                before = [*row.prompt, *row.tokens, *guesses[index]]
                scores = logits[index, -1, : model.width].float()
                token = choose(scores, row.request.sampling, generators[index], before)
                guesses[index].append(token)
                inputs[index].append(token)
    read = torch.tensor(inputs, device=mask.device)
    whole = [
        torch.cat(drafted, dim=1)
        if place == drafter
        else each(
            input_ids=read,
            attention_mask=seen,
            position_ids=places,
            past_key_values=cache.caches[place],
            use_cache=True,
        ).logits
        for place, each in enumerate(model.models)
    ]
    return guesses, model.combine(whole)


def _copy(generator: torch.Generator) -> torch.Generator:
    import torch

    copied = torch.Generator(device=generator.device)
    copied.set_state(generator.get_state())
    return copied
