"""The cross-entropy of responses that the model sees only in part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ...contracts.inference import derive_seed
from ..data.packs import Pack
from .objective import PackLoss, StepContext
from .token_loss import TokenObjective, cross_entropy

if TYPE_CHECKING:
    from ..data.chat import ChatEncoder
    from ..model.decoder import Decoder


class MaskedThought(TokenObjective):
    """Replaces a share of the trained tokens in the input by ``token``; they remain the labels.

    ``share``: of the trained tokens, at a progress of the training. ``seed``: of the draw, with the step and
    the row, so that a resumed training, or one with other packs, masks the same tokens.
    """

    def __init__(self, share: Callable[[float], float], token: int, seed: int) -> None:
        super().__init__(cross_entropy)
        self.share, self.token, self.seed = share, token, seed

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        if not model.training:
            return super().loss(model, pack, step_context)
        masked = self.masked(pack, step_context.progress)
        places = (pack.places + 1)[masked]
        return super().loss(
            model, replace(pack, ids=pack.ids.index_fill(0, places, self.token)), step_context
        )

    def masked(self, pack: Pack, progress: float) -> Tensor:
        """Draw which of the pack's trained tokens are masked: bool (trained,)."""
        share = self.share(progress)
        drawn = [
            torch.rand(sequence.trained_tokens, generator=_generator(self.seed, progress, example.id, number))
            for example in pack.examples
            for number, sequence in enumerate(example.sequences)
        ]
        return (torch.cat(drawn) < share).to(pack.ids.device)


def find_mask(encoder: ChatEncoder, text: str | None) -> int:
    """Return the id of the mask token: ``text``, or what the tokenizer offers besides its end of turn.

    Raises ModelError if ``text`` is no token, or the tokenizer offers none.
    """
    tokenizer = encoder.tokenizer
    if text is not None:
        found = tokenizer.encode(text, add_special_tokens=False)
        if len(found) != 1:
            raise ModelError(
                f"mask_token: {text!r} is {len(found)} tokens of the model's tokenizer: name a single one"
            )
        return int(found[0])
    for known in (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id):
        if known is not None and known != encoder.end_of_turn:
            return int(known)
    raise ModelError(
        "the model's tokenizer has no mask, unknown or padding token besides the end of turn: name a token "
        "that the rows do not contain as mask_token"
    )


def _generator(*parts: object) -> torch.Generator:
    seed, *others = parts
    return torch.Generator().manual_seed(derive_seed(int(str(seed)), "mask", *others))
