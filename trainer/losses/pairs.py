"""Common part of losses over pairs of a better and a worse response.

A row has ``prompt`` (a text, or messages), ``chosen`` and ``rejected`` (texts, or messages), and optionally
``system`` and ``weight``, and a third response. The loss of a step is the mean over its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from ...contracts.rows import Row
from ...kernels.log_probs import linear_log_probs
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.lazy_examples import Changed, tokens_of
from ..data.packs import Pack
from ..data.packs import pack as bins
from ..data.read_rows import read_beside, read_pair, row_weight
from ..data.unfit import Unfit
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext, Told, silent


@dataclass(frozen=True, slots=True)
class Responses:
    """The chosen, the rejected or the third responses of some pairs; each tensor is (pairs,).

    ``log_probs``: the summed log-probability of the tokens (nats). ``tokens``: the number of tokens.
    ``reference``: the log-probability under the model that training starts from, if the objective needs it.
    ``whole``: the mean log-probability of a token of the response or, if they are predicted too, of prompt
    and response.
    """

    log_probs: Tensor
    tokens: Tensor
    reference: Tensor | None = None
    whole: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Return the mean log-probability per token."""
        return self.log_probs / self.tokens

    @property
    def gain(self) -> Tensor:
        """Return the log-ratio of this model's probability to the reference's, or to 1 without one."""
        return self.log_probs if self.reference is None else self.log_probs - self.reference


#: (chosen, rejected), or (chosen, rejected, third) -> the differentiable loss of each pair, (pairs,), and the
#: margin between the rewards of the first two responses, as the method defines them, (pairs,).
PairLosses = Callable[..., tuple[Tensor, Tensor]]


class PairObjective(Objective):
    """An objective over pairs.

    ``losses``: computes the loss of each pair from the responses' log-probabilities. ``referenced``: whether
    it needs log-probabilities under the model that training starts from. ``with_prompts``: whether prompts of
    better responses are predicted too. ``third``: the column of a response beside the pair, which ``losses``
    then gets too.
    """

    def __init__(
        self,
        losses: PairLosses,
        *,
        referenced: bool = False,
        with_prompts: bool = False,
        third: str | None = None,
    ) -> None:
        self.losses, self.referenced, self.with_prompts, self.third = losses, referenced, with_prompts, third

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        sides = list(read_pair(row))
        if self.third is not None:
            sides.append(read_beside(row, self.third))
        chosen, *others = (encoder.encode(side, tools=row.get("tools")) for side in sides)
        if chosen == others[0]:
            raise Unfit("not a pair", "chosen and rejected are the same tokens")
        if self.with_prompts:
            chosen = with_prompt(chosen)
        return Example(row["_id"], (chosen, *others), row_weight(row))

    def count(self, example: Example) -> float:
        return example.weight

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        if not self.referenced:
            return examples
        return Changed(examples, {"reference": references(model, examples, capacity, told)})

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        found = token_log_probs(model, pack)
        weights = pack.weights.to(found.dtype)  # 0 for the tokens of a prompt
        sums, tokens = pack.sums(found * weights), pack.sums(weights)
        whole = pack.sums(found) / pack.sums(torch.ones_like(weights))
        sides = 2 if self.third is None else 3
        reference: list[Tensor] | list[None] = [None] * sides
        if self.referenced:
            known = torch.tensor([example.reference for example in pack.examples], dtype=torch.float64)
            reference = list(known.to(sums.device, sums.dtype).T)
        responses = (
            Responses(sums[side::sides], tokens[side::sides], reference[side], whole[side::sides])
            for side in range(sides)
        )
        losses, margins = self.losses(*responses)
        shares = (pack.row_weights() / step_context.count).to(sums.dtype)
        figures = {
            "margin": (shares * margins.detach()).sum(),
            "accuracy": (shares * (margins > 0)).sum(),
        }
        return PackLoss((shares * losses).sum(), losses.detach(), figures)


def with_prompt(tokens: TokenSequence) -> TokenSequence:
    """Predict every token but the first; those that were not trained on have weight 0."""
    trained = (False, *[True] * (len(tokens.ids) - 1))
    return replace(tokens, trained=trained, weights=tuple(map(float, tokens.trained)))


def references(
    model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
) -> list[tuple[float, ...]]:
    """Return the log-probability of each sequence of each example under ``model`` as it is now, nats.

    No second copy of the model is kept. ``capacity``, ``told``: see :meth:`Objective.prepare`.
    """
    found: list[tuple[float, ...]] = [()] * len(examples)
    done = 0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        sizes = tokens_of(examples)
        for indices in bins(sizes, max(capacity, max(sizes, default=0))):
            pack = Pack.of([examples[index] for index in indices], model.embeddings.device)
            sums = iter(pack.sums(token_log_probs(model, pack)).tolist())
            for index, example in zip(indices, pack.examples):
                found[index] = tuple(islice(sums, len(example.sequences)))
            done += len(indices)
            told(done, len(examples))
    model.train(was_training)
    return found


def token_log_probs(model: Decoder, pack: Pack) -> Tensor:
    """Return the log-probability of each trained token of the pack, (trained,), nats, differentiable."""
    hidden = model(pack.ids, pack.lengths).index_select(0, pack.places)
    return linear_log_probs(hidden, model.head, pack.targets)
