"""Several language models as one: at each position their logits are combined by a formula.

Emulated fine-tuning and LM up-scaling (Mitchell et al., 2310.12962) and proxy-tuning (Liu et al., 2401.08565)
add to a large model's logits what tuning changed in a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Formula(Protocol):
    """``base``: float32 ``(..., vocabulary)``. ``shifts``: of each pair, tuned minus untuned, alike.

    Returns the combined logits in the same shape.
    """

    def __call__(self, base: torch.Tensor, shifts: Sequence[Shift]) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class Shift:
    """The logits of a tuned model and of the untuned one: float32 ``(..., vocabulary)``."""

    plus: torch.Tensor
    minus: torch.Tensor

    @property
    def change(self) -> torch.Tensor:
        return self.plus - self.minus


@dataclass(frozen=True, slots=True)
class FixedScales:
    """``base + sum of scale * (plus - minus)``, one scale per pair."""

    scales: tuple[float, ...]

    def __call__(self, base: torch.Tensor, shifts: Sequence[Shift]) -> torch.Tensor:
        combined = base
        for scale, shift in zip(self.scales, shifts, strict=True):
            combined = combined + scale * shift.change
        return combined


@dataclass(frozen=True, slots=True)
class Logits:
    """What a forward pass returns, as transformers' outputs do."""

    logits: torch.Tensor


@dataclass(slots=True)
class CombinedCache:
    """One key-value cache per model."""

    caches: list[Any]

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        for cache in self.caches:
            cache.batch_select_indices(indices)


@dataclass(slots=True)
class JointModel:
    """Called like a model of transformers; its logits are those of the formula, in float32.

    ``models``: each loaded once. ``base``, ``plus`` and ``minus``: places in it; the latter two pair up.
    Vocabularies may be padded to different sizes: the ids that all models have are kept.
    """

    models: list[Any]
    base: int
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    formula: Formula
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = min(map(logits_at_a_place, self.models))

    @property
    def device(self) -> Any:
        return self.models[self.base].device

    @property
    def generation_config(self) -> Any:
        """That of the first tuned model: it knows where an answer ends."""
        return self.models[self.plus[0]].generation_config

    @property
    def positions(self) -> int | None:
        """The number of positions that all models have; None if none has a limit."""
        limits = [getattr(model.config, "max_position_embeddings", None) for model in self.models]
        return min((limit for limit in limits if limit), default=None)

    def empty_cache(self) -> CombinedCache:
        return CombinedCache([empty_cache(model) for model in self.models])

    def __call__(self, *, past_key_values: CombinedCache, **given: Any) -> Logits:
        return Logits(
            self.combine(
                [
                    model(past_key_values=cache, **given).logits
                    for model, cache in zip(self.models, past_key_values.caches, strict=True)
                ]
            )
        )

    def combine(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """``logits``: those of each model, ``(..., its vocabulary)``. Returns float32 ``(..., width)``."""
        whole = [each[..., : self.width].float().to(self.device) for each in logits]
        shifts = [Shift(whole[one], whole[other]) for one, other in zip(self.plus, self.minus, strict=True)]
        return self.formula(whole[self.base], shifts)


def empty_cache(model: Any) -> Any:
    """An empty key-value cache for a model, or one for each model of several."""
    from transformers import DynamicCache

    return model.empty_cache() if isinstance(model, JointModel) else DynamicCache()


def logits_at_a_place(model: Any) -> int:
    """The number of logits that a forward pass computes at each position."""
    if isinstance(model, JointModel):
        return sum(map(logits_at_a_place, model.models))
    width: int = model.get_output_embeddings().weight.shape[0]
    return width
