"""Common part of losses over single responses that are known to be desirable or not.

A row has a conversation, a column that says whether its response is desirable, and optionally ``weight``. The
loss of a step is the mean over its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from ...contracts.errors import DataError
from ...contracts.rows import Row
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.lazy_examples import Changed, Made, longest_of
from ..data.packs import Pack
from ..data.read_rows import read_desirable, read_messages, row_weight
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext, Told, silent
from .pairs import references, token_log_probs

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
        desirable = read_desirable(row, self.column)
        tokens = encoder.encode(read_messages(row), tools=row.get("tools"))
        return Example(row["_id"], (tokens,), row_weight(row), value=float(desirable))

    def arrange(self, examples: Sequence[Example]) -> tuple[Sequence[Example], dict[str, float]]:
        """Give each row the response to another prompt. Raises DataError if all prompts are the same."""
        good, prompts = 0.0, []
        for example in examples:
            good += example.value
            prompts.append(blake2b(repr(_prompt(example)).encode(), digest_size=16).digest())
        figures = {"rows_desirable": good, "rows_undesirable": len(examples) - good}
        if not self.surveys:
            return examples, figures
        return Changed(examples, {"beside": _Crossed(examples, _of_another_prompt(prompts))}), figures

    def count(self, example: Example) -> float:
        return example.weight

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        known = references(model, examples, capacity, told)
        if self.surveys:
            beside = references(model, Made(examples, _beside), capacity, told)
            known = [(*own, *other) for own, other in zip(known, beside)]
        return Changed(examples, {"reference": known})

    def survey(self, model: Decoder, examples: Sequence[Example], step_context: StepContext) -> Tensor:
        crossed = [_beside(example) for example in examples]
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


def _beside(example: Example) -> Example:
    """Return the example with the sequences that are only measured in place of its own."""
    return replace(example, sequences=example.beside)


def _of_another_prompt(prompts: Sequence[bytes]) -> list[int]:
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


class _Crossed(Sequence[tuple[TokenSequence, ...]]):
    """The prompt of each example with the response of its partner, cut to the longest of all examples."""

    def __init__(self, examples: Sequence[Example], partners: Sequence[int]) -> None:
        self._examples, self._partners = examples, partners
        self._longest = longest_of(examples)

    def __len__(self) -> int:
        return len(self._partners)

    def __getitem__(self, index: Any) -> Any:
        prompt, (tokens,) = _prompt(self._examples[index]), self._examples[self._partners[index]].sequences
        start = tokens.trained.index(True)
        room = max(1, self._longest - len(prompt))
        response, trained = tokens.ids[start:][:room], tokens.trained[start:][:room]
        return (TokenSequence((*prompt, *response), (*[False] * len(prompt), *trained)),)
