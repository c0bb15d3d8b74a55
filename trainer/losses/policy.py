"""Reinforcement: the clipped surrogate of PPO over sampled responses whose advantages are known.

A row has its prompt, ``response_tokens`` and ``logprobs``: the ids of the sampled tokens and their
log-probabilities under the sampler. So the importance ratio p(token) / p_sampler(token) is exact, whatever
separates the two: steps of training since, another number format, another implementation.

PPO: Schulman et al. (arXiv 1707.06347). GRPO: Shao et al. (arXiv 2402.03300). DAPO: Yu et al. (arXiv
2503.14476). GSPO, the ratio of a whole response: Zheng et al. (arXiv 2507.18071).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...contracts.rows import Row
from ..data.chat import ChatEncoder
from ..data.examples import Example, TokenSequence
from ..data.lazy_examples import Changed
from ..data.packs import Pack
from ..data.read_rows import read_asked, read_group, read_reward, read_sampled, row_weight
from ..model.decoder import Decoder
from ..model.trained_tensors import without_trained
from .objective import Objective, PackLoss, StepContext, Told, silent
from .pairs import token_log_probs
from .reference import token_references

Ratio: TypeAlias = Literal["token", "sequence"]
LossScale: TypeAlias = Literal["response", "token", "constant"]
Arrange: TypeAlias = Callable[[Sequence[Example]], tuple[Sequence[Example], dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Surrogate:
    """The surrogate loss of a token with ratio r and advantage A: -min(r A, clip(r, 1 - low, 1 + high) A).

    ``ratio``: r of the token, or the geometric mean over its response. ``ratio_limit``: largest r in the
    first term; None for no limit. ``kl``: weight of the KL divergence to the base, estimated per token as
    exp(d) - d - 1 for d = log p_base - log p (Schulman's k3). ``loss_scale``: what a step's loss is the mean
    of: over each ``response`` of the mean of its tokens, over all its ``token`` losses, or the sum of the
    tokens over its responses times ``length`` (``constant``).
    """

    clip_low: float
    clip_high: float
    ratio: Ratio = "token"
    ratio_limit: float | None = None
    kl: float = 0.0
    loss_scale: LossScale = "response"
    length: int = 1

    def of(self, log_ratio: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each token, and whether it is clipped, so that its gradient is 0."""
        ratio = log_ratio.exp()
        free = ratio if self.ratio_limit is None else ratio.clamp(max=self.ratio_limit)
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high) * advantages
        return -torch.min(free * advantages, clipped), clipped.detach() < (free * advantages).detach()

    def count(self, tokens: int) -> float:
        """Return the weight of a response of ``tokens`` tokens in the mean of its step."""
        return {"response": 1.0, "token": float(tokens), "constant": float(self.length)}[self.loss_scale]


class PolicyObjective(Objective):
    """Minimizes ``surrogate`` over responses.

    ``arrange``: computes advantages from the rewards of all rows. ``reward``: column with the reward.
    ``group``: column whose equal values make a group; None for the rows that were made from the same row.
    """

    teaches_to_stop = False

    def __init__(self, surrogate: Surrogate, arrange: Arrange, *, reward: str, group: str | None) -> None:
        self.surrogate, self._arrange = surrogate, arrange
        self.reward, self.group = reward, group

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        prompt = _asked(row, encoder)
        response, sampled = read_sampled(row)
        if row.get("prompt_tokens") not in (None, len(prompt)):
            raise ValueError(
                f"its prompt is {len(prompt)} tokens here, but was {row['prompt_tokens']} when it was "
                "sampled: give a system prompt as the column 'system', tools as 'tools', and sample with the "
                "same template"
            )
        tokens = TokenSequence((*prompt, *response), (*[False] * len(prompt), *[True] * len(response)))
        return Example(
            row["_id"],
            (tokens,),
            row_weight(row),
            value=read_reward(row, self.reward),
            group=read_group(row, self.group),
            sampled=sampled,
            cut_off=row.get("finish") == "length",
        )

    def arrange(self, examples: Sequence[Example]) -> tuple[Sequence[Example], dict[str, float]]:
        return self._arrange(examples)

    def count(self, example: Example) -> float:
        return example.weight * self.surrogate.count(example.trained_tokens)

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        return _with_base(model, examples, capacity, told) if self.surrogate.kl else examples

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        log_p = token_log_probs(model, pack)
        log_ratio = log_p - _flat([example.sampled for example in pack.examples], log_p)
        from_sampler = log_ratio.detach().abs()
        lengths = torch.bincount(pack.owners, minlength=len(pack.lengths))
        if self.surrogate.ratio == "sequence":
            log_ratio = (pack.sums(log_ratio) / lengths)[pack.owners]
        advantages = _flat([[example.value] for example in pack.examples], log_p)
        losses, clipped = self.surrogate.of(log_ratio, advantages[pack.owners])
        if self.surrogate.kl:
            apart = _flat([example.reference for example in pack.examples], log_p) - log_p
            losses = losses + self.surrogate.kl * (apart.exp() - apart - 1)
        weights = pack.row_weights().to(log_p) / step_context.count
        if self.surrogate.loss_scale == "response":
            weights = weights / lengths
        shares = means = weights[pack.owners]
        if self.surrogate.loss_scale == "constant":  # these shares do not add up to 1
            means = shares * self.surrogate.length / lengths[pack.owners]
        figures = {
            "clipped": (means * clipped).sum(),
            "ratio": (means * log_ratio.detach().exp()).sum(),
            "from_sampler": (means * from_sampler).sum(),
        }
        rows = pack.sums(losses.detach()) / lengths
        return PackLoss((shares * losses).sum(), rows, figures)


def _with_base(model: Decoder, examples: Sequence[Example], capacity: int, told: Told) -> Sequence[Example]:
    """Add to the examples the log-probability of each trained token under the base.

    It is the model without adapters, and with its stored embeddings, norms and head.
    """
    with _without_adapters(model), without_trained(model):
        return Changed(examples, {"reference": token_references(model, examples, capacity, told)})


@contextmanager
def _without_adapters(model: Decoder) -> Iterator[None]:
    held = {linear: linear.adapter for _, linear in model.linears()}
    try:
        for linear in held:
            linear.adapter = None
        yield
    finally:
        for linear, adapter in held.items():
            linear.adapter = adapter


def _asked(row: Row, encoder: ChatEncoder) -> list[int]:
    """The tokens of the prompt; without the tools of the row, if its length says that it had none."""
    asked, tools, length = read_asked(row), row.get("tools"), row.get("prompt_tokens")
    if tools and length is not None:
        plain = encoder.opening(asked)
        if len(plain) == length:
            return plain
    return encoder.opening(asked, tools)


def _flat(values: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    return torch.tensor([value for own in values for value in own], dtype=torch.float64).to(like)
