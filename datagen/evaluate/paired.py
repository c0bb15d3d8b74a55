"""Base of evaluations: the same items for one or two models, and a paired test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.evaluation import Evaluate
from ...contracts.operators import ModelRef
from ...contracts.outcomes import Kept, Outcome
from ...contracts.rows import Row
from .paired_bootstrap import Gain, paired_bootstrap

if TYPE_CHECKING:
    import pyarrow as pa

#: The prefixes of the columns of the models that are compared with.
AGAINST = "against_"
START = "start_"
#: Fixes the resamples, so that the interval depends only on the scores.
BOOTSTRAP_SEED = 2004


class PairedEvaluation(Evaluate):
    """Measures ``model`` (and ``against``) on every row of ``tasks``.

    An item is kept with the columns of ``model``; with ``against``, also the same columns as ``against_*``,
    and ``gain`` float64, the difference in the first of ``figures``; with ``start``, the same as ``start_*``.

    Metrics: ``n`` and ``model``, the mean of each of ``figures``. With ``against``, also ``against``
    likewise, ``gain`` (of the first figure) and ``gain_NAME`` (of each other figure) ``{metric, mean, ci_low,
    ci_high, p_two_sided, ...}`` from the paired bootstrap, and ``decision`` by ``gain``: ``better``,
    ``worse``, or ``abstain`` if the interval contains zero. With ``start``, also ``start`` likewise,
    ``gain_start`` (the first figure of ``model`` minus that of ``start``) and ``gain_against_start``.
    """

    batch_rows: ClassVar[int] = 64
    #: The name of each figure, and its float64 column per item. Higher is better. The first figure decides.
    figures: ClassVar[Mapping[str, str]]
    sides: ClassVar[Mapping[str, str]] = {"model": "", "against": AGAINST, "start": START}

    model: ModelRef
    """Model to evaluate: a name under `models`, or a train step, whose student is then evaluated."""
    against: ModelRef | None = None
    """Model to compare with on the same items and seeds. By default there is none, and no gain is
    measured."""
    start: ModelRef | None = None
    """Third model to compare with, such as `base@0`: the model `base` as it was before the first round. By
    default there is none; the yardsticks of `loop.gate` take that of their `against`."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence level of the interval of the gain, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Number of resamples of the paired bootstrap."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.against is None:
            raise ValueError(
                "`start` is compared with beside `against`: name the teacher there, or only that"
            )
        return self

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        metrics: dict[str, Any] = {"n": table.num_rows}
        if table.num_rows == 0:
            return metrics
        for prefix in self.models():
            metrics[_side(prefix)] = {
                name: float(table[prefix + column].to_numpy().mean()) for name, column in self.figures.items()
            }
        for name, of, over, figure in self._gains():
            column = self.figures[figure]
            gain = paired_bootstrap(
                table[of + column].to_numpy(),
                table[over + column].to_numpy(),
                seed=BOOTSTRAP_SEED,
                confidence=self.confidence,
                resamples=self.resamples,
            )
            sides = {"of": _side(of), "over": _side(over)}
            metrics[name] = {"metric": figure, **sides, **gain.figures()}
            if name == "gain":
                metrics["decision"] = (
                    "abstain" if not gain.decided else "better" if gain.mean > 0 else "worse"
                )
        return metrics

    def metrics(self) -> Sequence[str]:
        names = ["n", *(f"{_side(prefix)}.{name}" for prefix in self.models() for name in self.figures)]
        gains = [name for name, *_ in self._gains()]
        return [*names, *(f"{gain}.{field.name}" for gain in gains for field in fields(Gain))]

    def _gains(self) -> Iterator[tuple[str, str, str, str]]:
        """(name, prefix of the model, prefix of the one it is compared with, figure) of each difference."""
        first, *others = self.figures
        if self.against is not None:
            yield "gain", "", AGAINST, first
            yield from ((f"gain_{name}", "", AGAINST, name) for name in others)
        if self.start is not None:
            yield "gain_start", "", START, first
            yield "gain_against_start", AGAINST, START, first

    def models(self) -> dict[str, str]:
        """The models to ask, by the prefix of their columns. One may be named twice."""
        named = {prefix: getattr(self, side) for side, prefix in self.sides.items()}
        return {prefix: name for prefix, name in named.items() if name is not None}

    def measured(self, context: Context) -> dict[str, Mapping[str, Row]]:
        """The models that need not be asked, with the columns of their items."""
        found = {name: context.measured(name) for name in dict.fromkeys(self.models().values())}
        return {name: rows for name, rows in found.items() if rows is not None}

    def known(
        self, measured: Mapping[str, Mapping[str, Row]], rows: Sequence[Row]
    ) -> dict[str, list[Outcome]]:
        """The outcomes of the models in :meth:`measured`, in the order of the items."""
        return {name: [Kept(found[row["_id"]]) for row in rows] for name, found in measured.items()}

    def items(self, sides: Mapping[str, Sequence[Outcome]]) -> list[list[Outcome]]:
        """The outcome of each item. ``sides``: the outcomes of each model, in the order of the items.

        An item fails, or is filtered, if it is so for one of its models.
        """
        models = self.models()
        count = len(next(iter(sides.values())))
        return [
            [self._item({prefix: sides[name][index] for prefix, name in models.items()})]
            for index in range(count)
        ]

    def _item(self, sides: Mapping[str, Outcome]) -> Outcome:
        kept: dict[str, Row] = {}
        for prefix, outcome in sides.items():
            if not isinstance(outcome, Kept):
                return outcome
            kept[prefix] = {name: outcome.row[name] for name in self.measures}
        return Kept(self.compared(kept))

    def compared(self, sides: Mapping[str, Row]) -> Row:
        """The columns of an item, from the columns of each model, by the prefix of its columns."""
        item = {prefix + name: value for prefix, row in sides.items() for name, value in row.items()}
        if self.against is not None:
            score = next(iter(self.figures.values()))
            item["gain"] = item[score] - item[AGAINST + score]
        return item


def _side(prefix: str) -> str:
    """The name of a model among the metrics: ``model``, ``against`` or ``start``."""
    return prefix.removesuffix("_") or "model"
