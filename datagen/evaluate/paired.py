"""Base of evaluations: the same items for one or two models, and a paired test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...contracts.operators import Evaluate, ModelRef
from ...contracts.rows import Row
from .paired_bootstrap import Gain, paired_bootstrap

if TYPE_CHECKING:
    import pyarrow as pa

#: Fixes the resamples, so that the interval depends only on the scores.
BOOTSTRAP_SEED = 2004


class PairedEvaluation(Evaluate):
    """Measures ``model`` (and ``against``) on every row of ``tasks``.

    An item is kept with the columns of ``model``; with ``against``, also the same columns as ``against_*``,
    and ``gain`` float64, the difference in the first of ``figures``.

    Metrics: ``n`` and ``model``, the mean of each of ``figures``. With ``against``, also ``against``
    likewise, ``gain`` (of the first figure) and ``gain_NAME`` (of each other figure) ``{metric, mean, ci_low,
    ci_high, p_two_sided, ...}`` from the paired bootstrap, and ``decision`` by ``gain``: ``better``,
    ``worse``, or ``abstain`` if the interval contains zero.
    """

    batch_rows: ClassVar[int] = 64
    #: The name of each figure, and its float64 column per item. Higher is better. The first figure decides.
    figures: ClassVar[Mapping[str, str]]

    model: ModelRef
    """Model to evaluate: a name under `models`, or a train step, whose student is then evaluated."""
    against: ModelRef | None = None
    """Model to compare with on the same items and seeds. By default there is none, and no gain is
    measured."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence level of the interval of the gain, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Number of resamples of the paired bootstrap."""

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        metrics: dict[str, Any] = {"n": table.num_rows}
        if table.num_rows == 0:
            return metrics
        for side, prefix in zip(("model", "against"), self.models()):
            metrics[side] = {
                name: float(table[prefix + column].to_numpy().mean()) for name, column in self.figures.items()
            }
        if self.against is None:
            return metrics
        for number, (name, column) in enumerate(self.figures.items()):
            gain = paired_bootstrap(
                table[column].to_numpy(),
                table[f"against_{column}"].to_numpy(),
                seed=BOOTSTRAP_SEED,
                confidence=self.confidence,
                resamples=self.resamples,
            )
            metrics[f"gain_{name}" if number else "gain"] = {"metric": name, **gain.figures()}
            if number == 0:
                metrics["decision"] = (
                    "abstain" if not gain.decided else "better" if gain.mean > 0 else "worse"
                )
        return metrics

    def metrics(self) -> Sequence[str]:
        sides = ["model"] if self.against is None else ["model", "against"]
        names = ["n", *(f"{side}.{name}" for side in sides for name in self.figures)]
        if self.against is not None:
            others = list(self.figures)[1:]
            gains = ["gain", *(f"gain_{name}" for name in others)]
            names += [f"{gain}.{field.name}" for gain in gains for field in fields(Gain)]
        return names

    def models(self) -> dict[str, str]:
        """The models to ask, by the prefix of their columns."""
        return {"": self.model, **({"against_": self.against} if self.against is not None else {})}

    def compared(self, sides: Mapping[str, Row]) -> Row:
        """The columns of an item, from the columns of each model, by the prefix of its columns."""
        item = {prefix + name: value for prefix, row in sides.items() for name, value in row.items()}
        if self.against is not None:
            score = next(iter(self.figures.values()))
            item["gain"] = item[score] - item[f"against_{score}"]
        return item
