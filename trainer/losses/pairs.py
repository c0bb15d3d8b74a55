"""Common part of losses over pairs of a better and a worse response.

A row has ``prompt`` (a text, or messages), ``chosen`` and ``rejected`` (texts, or messages), and optionally
``system`` and ``weight``. The loss of a step is the mean over its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from ...contracts.inference import Message
from ...contracts.rows import Row, turns_in
from ...kernels.log_probs import linear_log_probs
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.lazy_examples import Changed, tokens_of
from ..data.packs import Pack
from ..data.packs import pack as bins
from ..data.unfit import Unfit
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext, Told, silent
from .token_loss import row_weight


@dataclass(frozen=True, slots=True)
class Responses:
    """The chosen or the rejected responses of some pairs; each tensor is (pairs,).

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


#: (chosen, rejected) -> the differentiable loss of each pair, (pairs,), and the margin between the rewards of
#: the two responses, as the method defines them, (pairs,).
PairLosses = Callable[[Responses, Responses], tuple[Tensor, Tensor]]


class PairObjective(Objective):
    """An objective over pairs.

    ``losses``: computes the loss of each pair from the responses' log-probabilities. ``referenced``: whether
    it needs log-probabilities under the model that training starts from. ``with_prompts``: whether prompts of
    better responses are predicted too.
    """

    def __init__(self, losses: PairLosses, *, referenced: bool = False, with_prompts: bool = False) -> None:
        self.losses, self.referenced, self.with_prompts = losses, referenced, with_prompts

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        better, worse = (conversation(row, side) for side in ("chosen", "rejected"))
        if better[:-1] != worse[:-1]:
            raise Unfit("not a pair", "chosen and rejected do not answer the same prompt")
        if better == worse:
            raise Unfit("not a pair", "chosen and rejected are the same")
        chosen, rejected = (encoder.encode(side, tools=row.get("tools")) for side in (better, worse))
        if self.with_prompts:
            chosen = with_prompt(chosen)
        return Example(row["_id"], (chosen, rejected), row_weight(row))

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
        reference: list[Tensor] | list[None] = [None, None]
        if self.referenced:
            known = torch.tensor([example.reference for example in pack.examples], dtype=torch.float64)
            reference = list(known.to(sums.device, sums.dtype).T)
        chosen, rejected = (
            Responses(sums[side::2], tokens[side::2], reference[side], whole[side::2]) for side in range(2)
        )
        losses, margins = self.losses(chosen, rejected)
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


def conversation(row: Row, side: str) -> list[Message]:
    """Return the row's prompt and the response in its column ``side`` as messages.

    Raises ValueError if one of them is missing or empty.
    """
    response, prompt = row.get(side), row.get("prompt")
    if not response:
        raise Unfit(
            "empty response", f"a pair needs 'prompt', 'chosen' and 'rejected'; {side!r} is missing or empty"
        )
    answer = _turns(response, side, "assistant")
    if answer[0]["role"] != "assistant":
        return answer  # the whole conversation, as preference data sets often have it
    if not prompt:
        raise Unfit(
            "no conversation", "a pair needs 'prompt', 'chosen' and 'rejected'; 'prompt' is missing or empty"
        )
    return [*_prompt(row), *answer]


def _prompt(row: Row) -> list[Message]:
    prompt = row["prompt"]
    system: list[Message] = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return [*system, *_turns(prompt, "prompt", "user")]


def _turns(value: object, column: str, role: Literal["user", "assistant"]) -> list[Message]:
    """Return the turns in a column, or its text as one of ``role``. Raises Unfit for anything else."""
    if not isinstance(value, (str, list, tuple)):
        raise Unfit("no conversation", f"its {column!r} is neither a text nor turns, but {value!r:.40}")
    given = turns_in(value)
    for number, turn in enumerate(given or (), 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise Unfit("no conversation", f"turn {number} of its {column!r} has no role: {turn!r:.40}")
    return given or [{"role": role, "content": str(value)}]


def token_log_probs(model: Decoder, pack: Pack) -> Tensor:
    """Return the log-probability of each trained token of the pack, (trained,), nats, differentiable."""
    hidden = model(pack.ids, pack.lengths).index_select(0, pack.places)
    return linear_log_probs(hidden, model.head, pack.targets)
