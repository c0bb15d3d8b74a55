"""Common part of losses over single responses that are known to be desirable or not.

A row has a conversation, a column that says whether its response is desirable, and optionally ``weight``. The
loss of a step is the mean over its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...contracts.errors import DataError
from ...contracts.rows import Row, messages_of
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.packs import Pack
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext
from .pairs import token_log_probs, with_reference
from .token_loss import row_weight

#: (log-ratio to the reference (rows,), whether desirable: bool (rows,), KL estimate of the step) -> the
#: differentiable loss of each row, (rows,).
UnpairedLosses = Callable[[Tensor, Tensor, float], Tensor]


class UnpairedObjective(Objective):
    """An objective over single responses, relative to the model that training starts from.

    ``losses``: computes the loss of each row. ``column``: says whether a response is desirable.
    ``mismatched``: whether the loss needs the KL divergence from the reference. It is estimated as in KTO's
    code, without gradient: the mean log-ratio of responses to *other* prompts, over the rows of a step, and
    at least 0.
    """

    def __init__(self, losses: UnpairedLosses, column: str, *, mismatched: bool = True) -> None:
        self.losses, self.column, self.surveys = losses, column, mismatched

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        desirable = row.get(self.column)
        if not isinstance(desirable, bool):
            raise ValueError(f"its {self.column!r} is {desirable!r}, not true or false")
        tokens = encoder.encode(messages_of(row), tools=row.get("tools"))
        return Example(row["_id"], (tokens,), row_weight(row), value=float(desirable))

    def arrange(self, examples: Sequence[Example]) -> tuple[list[Example], dict[str, float]]:
        """Give each row the response to another prompt. Raises DataError if all prompts are the same."""
        good = sum(example.value for example in examples)
        figures = {"rows_desirable": good, "rows_undesirable": len(examples) - good}
        if not self.surveys:
            return list(examples), figures
        longest = max((example.longest for example in examples), default=0)
        partners = _of_another_prompt([_prompt(example) for example in examples])
        crossed = [
            replace(example, beside=(_crossed(example, examples[partner], longest),))
            for example, partner in zip(examples, partners)
        ]
        return crossed, figures

    def count(self, example: Example) -> float:
        return example.weight

    def prepare(self, model: Decoder, examples: Sequence[Example], capacity: int) -> list[Example]:
        both = [replace(each, sequences=(*each.sequences, *each.beside)) for each in examples]
        known = with_reference(model, both, capacity)
        return [replace(each, reference=other.reference) for each, other in zip(examples, known)]

    def survey(self, model: Decoder, examples: Sequence[Example], step_context: StepContext) -> Tensor:
        crossed = [replace(example, sequences=example.beside) for example in examples]
        pack = Pack.of(crossed, model.embeddings.device)
        gains = _gains(model, pack, [example.reference[1] for example in examples])
        return (_shares(pack, step_context, gains) * gains).sum()

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        gains = _gains(model, pack, [example.reference[0] for example in pack.examples])
        desirable = torch.tensor([example.value > 0 for example in pack.examples], device=gains.device)
        divergence = max(0.0, float(step_context.surveyed))
        losses = self.losses(gains, desirable, divergence)
        shares = _shares(pack, step_context, gains)
        figures = {
            "kl": shares.sum() * divergence,
            "accuracy": (shares * ((gains > divergence) == desirable)).sum(),
        }
        return PackLoss((shares * losses).sum(), losses.detach(), figures)


def _gains(model: Decoder, pack: Pack, reference: list[float]) -> Tensor:
    """Return the log-ratio of each sequence to the reference, (sequences,)."""
    sums = pack.sums(token_log_probs(model, pack))
    return sums - torch.tensor(reference, dtype=torch.float64).to(sums.device, sums.dtype)


def _shares(pack: Pack, step_context: StepContext, like: Tensor) -> Tensor:
    return (pack.row_weights() / step_context.count).to(like.dtype)


def _prompt(example: Example) -> tuple[int, ...]:
    """Return the tokens before the first trained one."""
    (tokens,) = example.sequences
    return tokens.ids[: tokens.trained.index(True)]


def _of_another_prompt(prompts: Sequence[tuple[int, ...]]) -> list[int]:
    """Return for each row the index of one with another prompt: from half the rows away, the first.

    Samples of one prompt usually lie next to each other.
    """
    count = len(prompts)
    if len(set(prompts)) < 2:
        raise DataError(
            "KTO estimates its KL divergence from responses to other prompts, but all rows have the same "
            "prompt: give rows of several prompts, or set loss: apo_zero_unpaired"
        )
    return [
        next(
            other % count
            for other in range(place + count // 2, place + count // 2 + count)
            if prompts[other % count] != prompts[place]
        )
        for place in range(count)
    ]


def _crossed(example: Example, other: Example, longest: int) -> TokenSequence:
    """Return the prompt of ``example`` with the response of ``other``, cut to ``longest`` tokens."""
    prompt, (tokens,) = _prompt(example), other.sequences
    start = tokens.trained.index(True)
    room = max(1, longest - len(prompt))
    response, trained = tokens.ids[start:][:room], tokens.trained[start:][:room]
    return TokenSequence((*prompt, *response), (*[False] * len(prompt), *trained))
