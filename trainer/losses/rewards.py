"""Losses of a scalar head over whole conversations: a reward model.

The head reads the state of the last token, as transformers does: the last one that is not the padding token.
The conversation is rendered as a server of the model renders it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...contracts.rows import Row
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.packs import Pack
from ..data.read_rows import ReadScored, row_weight
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext

#: (scores of the sequences, the rows' numbers (rows,)) -> losses (rows,) and figures of each row (rows,).
ScoreLosses = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


class ScoreObjective(Objective):
    """An objective over the scores of one or two conversations per row.

    ``padding``: id of the padding token that transformers skips; None if the model has none.
    """

    teaches_to_stop = False

    def __init__(self, losses: ScoreLosses, read: ReadScored, padding: int | None) -> None:
        self.losses, self.read, self.padding = losses, read, padding

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        conversations, value = self.read(row)
        sequences = tuple(self._scored(encoder.whole(turns)) for turns in conversations)
        return Example(row["_id"], sequences, row_weight(row), value=value)

    def count(self, example: Example) -> float:
        return example.weight

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        assert model.score is not None
        # The marked token itself, not the one before it, which would predict it.
        hidden = model(pack.ids, pack.lengths).index_select(0, pack.places + 1)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        scores = (hidden.to(wide) @ model.score.to(wide).T)[:, 0]
        values = torch.tensor([example.value for example in pack.examples], dtype=torch.float64)
        losses, told = self.losses(scores, values.to(scores))
        shares = (pack.row_weights() / step_context.count).to(scores.dtype)
        figures = {name: (shares * value).sum() for name, value in told.items()}
        return PackLoss((shares * losses).sum(), losses.detach(), figures)

    def _scored(self, tokens: TokenSequence) -> TokenSequence:
        """Mark the token whose state is scored."""
        last = max((n for n, token in enumerate(tokens.ids) if token != self.padding), default=0)
        return replace(tokens, trained=tuple(n == last for n in range(len(tokens.ids))))


def bradley_terry(center: float) -> ScoreLosses:
    """-log sigmoid(s_w - s_l - margin) + center * (s_w + s_l)^2, over pairs of scores.

    Bradley & Terry, 1952; the margin: Touvron et al., Llama 2 (arXiv 2307.09288); the centering: Eisenstein
    et al. (arXiv 2312.09244).
    """

    def losses(scores: Tensor, margins: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        better, worse = scores[::2], scores[1::2]
        loss = -logsigmoid(better - worse - margins)
        if center:
            loss = loss + center * (better + worse) ** 2
        apart = (better - worse).detach()
        return loss, {"margin": apart, "accuracy": (apart > 0).to(apart.dtype)}

    return losses


def scaled_bradley_terry(center: float) -> ScoreLosses:
    """strength * -log sigmoid(s_w - s_l) + center * (s_w + s_l)^2, over pairs of scores.

    A strong preference counts as often as if its pair were there repeatedly (Wang et al.,
    HelpSteer2-Preference, arXiv 2410.01257).
    """
    plain = bradley_terry(center=0.0)

    def losses(scores: Tensor, strengths: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = plain(scores, torch.zeros_like(strengths))
        loss = strengths * loss
        if center:
            loss = loss + center * (scores[::2] + scores[1::2]) ** 2
        return loss, figures

    return losses


def squared_error(scores: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(s - target)^2."""
    apart = scores - targets
    return apart**2, {"error": apart.detach().abs()}
