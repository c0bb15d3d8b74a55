"""``train: grpo``: reinforcement learning from verifiable rewards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from sys import intern
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import no_column
from ...contracts.rows import Row
from ..data.read_rows import read_asked, read_group, read_reward, read_sampled, row_weight
from ..data.turns import read_tools, read_turns
from ..model.quantization import Quantization
from ..step import TrainStep

if TYPE_CHECKING:
    from ..data.examples import Example
    from ..losses.objective import Objective
    from ..losses.policy import Surrogate

#: Initializations that change the base, so that it cannot be the reference without its adapter.
CHANGING = frozenset(
    {
        "pissa",
        "olora",
        "loftq",
        "corda",
        "lora_ga",
        "quailora",
        "lq_lora",
        "truncated",
        "pruned",
        "owq",
        "qeft",
        "welore",
    }
)


class GroupRelativePolicyOptimization(TrainStep):
    """Trains a model on its own samples by their rewards: reinforcement learning from verifiable rewards.

    With the ratio r = p(token) / p_sampler(token) and the advantage A of its response: loss = -min(r * A,
    clip(r, 1 - clip_low, 1 + clip_high) * A) + kl * KL(p || p_base), the mean over the tokens of a response,
    then over the responses of a step. A is the reward minus the mean reward of the responses to the same
    prompt, over their standard deviation: GRPO (DeepSeekMath, arXiv 2402.03300). The options are those of
    RLOO (arXiv 2402.14740), DAPO (arXiv 2503.14476), Dr. GRPO (arXiv 2503.20783) and GSPO (arXiv 2507.18071).

    A step trains on one round of samples. `repeat:` alternates sampling, verification and training; each
    training continues from the adapter and the optimizer state of the one before. Sample at temperature 1
    without `top_p`, `top_k` or `min_p`, since ratios refer to the model's own distribution.

    Reads:
        prompt, system (text) or messages (list of turns): what was answered.
        tools (list of objects): schemas of the functions that the model could call, if rows have them.
        response_tokens (list of int32): ids of the sampled tokens, which `record_tokens` adds.
        logprobs (list of float32): their log-probabilities under the sampler, which `logprobs: 0` adds.
        reward (number or bool): reward of the response; `reward` names another column.
        weight (number): weight of the row in the loss, if rows have it.

    Example:
        student: {train: grpo, from: checked, model: base, reward: passed_fraction, quantize: none}
    """

    quantize: Quantization = "none"
    """Format of the frozen base. A quantized base differs from the model that an engine samples from."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Highest learning rate of the schedule."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls after the warm-up: `constant`, `linear` or `cosine`, within one step."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises from zero."""
    carry_optimizer: bool = True
    """Save the optimizer's state with the adapter, and continue from that of an earlier adapter."""
    reward: str = "reward"
    """Column with the reward of each response: a number, or true and false as 1 and 0. `passed` and
    `passed_fraction` of `verify:` steps, any score, or a column that `compute:` makes of several."""
    group: str | None = None
    """Column whose equal values make a group. By default, the samples of one row are a group."""
    advantage: Literal["group", "rloo", "none"] = "group"
    """What is subtracted from a reward: the mean of its `group`, the mean of the other rewards of its group
    (`rloo`), or nothing (`none`)."""
    scale: Literal["std", "batch", "none"] = "std"
    """What the difference is divided by: the standard deviation of its group (`std`) or of all rewards
    (`batch`), or nothing (`none`, as in RLOO and Dr. GRPO)."""
    equal_groups: Literal["drop", "keep"] = "drop"
    """Groups whose rewards are all the same have no advantage. `drop` leaves them out, as DAPO's dynamic
    sampling does; `keep` counts their tokens. If no group differs, all are kept."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """Distance below 1 at which the ratio is clipped."""
    clip_high: float = Field(default=0.2, ge=0)
    """Distance above 1 at which the ratio is clipped. DAPO's clip-higher is 0.28."""
    ratio: Literal["token", "sequence"] = "token"
    """Ratio of each `token`, or the geometric mean over the response (`sequence`, GSPO, which clips at about
    3e-4 below and 4e-4 above)."""
    ratio_limit: float | None = Field(default=None, gt=1)
    """Largest ratio outside the clip: bounds the loss of a token with a negative advantage that has become
    much more likely. By default there is none."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the base, without its adapter and with its own embeddings, norms and
    head. DeepSeekMath uses 0.04, DAPO none."""
    loss_scale: Literal["response", "token", "constant"] = "response"
    """What a step's loss is the mean of: of its responses, each the mean of its tokens (`response`, GRPO); of
    all its tokens (`token`, DAPO); or the sum over its tokens, divided by its responses and by `max_tokens`
    (`constant`, Dr. GRPO)."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Limit that the responses were generated with: for `loss_scale: constant` and `overlong_margin`."""
    overlong_margin: int = Field(default=0, ge=0)
    """Tokens before `max_tokens` over which the reward falls by up to 1: DAPO's soft overlong punishment. 0
    disables it."""
    cut_off: Literal["train", "leave_out"] = "train"
    """Whether responses that `max_tokens` cut off are trained on. `leave_out` is DAPO's overlong filtering:
    they count in the mean of their group only."""

    @model_validator(mode="after")
    def _needs_a_limit(self) -> Self:
        if self.max_tokens is None and (self.overlong_margin or self.loss_scale == "constant"):
            what = "overlong_margin" if self.overlong_margin else "loss_scale: constant"
            raise ValueError(f"{what} needs max_tokens: the limit that the responses were generated with")
        if self.overlong_margin and self.overlong_margin >= (self.max_tokens or 0):
            raise ValueError("overlong_margin must be below max_tokens")
        if self.kl and self.sparse is not None and self.sparse.kind == "cola":
            raise ValueError("kl needs the base as its reference, but sparse 'cola' changes it: give kl: 0")
        if self.kl and self.adapter.init in CHANGING:
            raise ValueError(
                f"kl needs the base as its reference, but the initialization {self.adapter.init!r} changes "
                "the base: give adapter.init: default, or kl: 0"
            )
        if self.kl and self.adapter.kind in ("qft", "pv"):
            raise ValueError(
                f"kl needs the base as its reference, but adapter kind {self.adapter.kind!r} changes it: "
                "give kl: 0"
            )
        return self

    def uses_columns(self) -> Iterable[str]:
        own = [] if self.group is None else [self.group]
        return ("response_tokens", "logprobs", self.reward, *own)

    def check_columns(self, columns: Sequence[str]) -> None:
        for name in ("response_tokens", "logprobs"):
            if name not in columns:
                raise DataError(
                    f"{no_column(name, columns)}; generate with `record_tokens: true` and `logprobs: 0`"
                )
        super().check_columns(columns)

    def check_row(self, row: Row) -> None:
        read_turns(read_asked(row))
        read_tools(row.get("tools"))
        read_sampled(row)
        read_reward(row, self.reward)
        read_group(row, self.group)
        row_weight(row)

    def objective(self, context: Context) -> Objective:
        from ..losses.policy import PolicyObjective

        return PolicyObjective(self.surrogate(), self.arrange, reward=self.reward, group=self.group)

    def surrogate(self) -> Surrogate:
        from ..losses.policy import Surrogate

        return Surrogate(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            ratio=self.ratio,
            ratio_limit=self.ratio_limit,
            kl=self.kl,
            loss_scale=self.loss_scale,
            length=self.max_tokens or 1,
        )

    def arrange(self, examples: Sequence[Example]) -> tuple[Sequence[Example], dict[str, float]]:
        """Replace the reward of each example by its advantage, and leave out what teaches nothing."""
        from ..data.lazy_examples import Changed
        from ..losses.advantages import advantages, equal_groups

        plain, rewards, groups, cut_off = [], [], [], []
        for example in examples:
            plain.append(example.value)
            rewards.append(self._shaped(example))
            groups.append(intern(example.group))
            cut_off.append(example.cut_off)
        equal = equal_groups(rewards, groups)
        found = advantages(rewards, groups, baseline=self.advantage, scale=self.scale)
        figures = {
            "reward": fmean(plain) if plain else 0.0,
            "groups": float(len(set(groups))),
            "groups_equal": float(len(equal)),
            "rows_cut_off": float(sum(cut_off)),
        }
        kept = [place for place, cut in enumerate(cut_off) if self.cut_off == "train" or not cut]
        if self.equal_groups == "drop" and self.advantage != "none":
            kept = [place for place in kept if groups[place] not in equal] or kept
        if not kept:
            raise DataError(
                "no rows to train on: every response was cut off; raise max_tokens of the sampling"
            )
        return Changed(examples, {"value": [found[place] for place in kept]}, kept), figures

    def _shaped(self, example: Example) -> float:
        """Return the reward, with the soft penalty of a response near the limit."""
        from ..losses.advantages import overlong_penalty

        if not self.overlong_margin or self.max_tokens is None:
            return example.value
        return example.value + overlong_penalty(example.trained_tokens, self.max_tokens, self.overlong_margin)
