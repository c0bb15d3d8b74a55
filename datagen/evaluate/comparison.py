"""Base of evaluations that ask a model: the same items for one or two models, and a paired test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.inference import Capability
from ...contracts.operators import Apply, Context, Estimate, Evaluate, Failed, Kept, ModelRef, Outcome
from ...contracts.rows import Row
from ..generate.generator import Generator
from ..generate.sampling_loop import SamplingPlan, sample_rows
from ..generate.sampling_policies import Trial
from .paired_bootstrap import paired_bootstrap

if TYPE_CHECKING:
    import pyarrow as pa

#: Fixes the resamples, so that the interval depends only on the scores.
BOOTSTRAP_SEED = 2004


class Comparison(Evaluate):
    """Asks ``model`` (and ``against``) about every row of ``tasks``, and checks the answers.

    Each item gets ``samples`` answers at ``temperature`` (0: greedy). It is kept with the columns of
    :meth:`judged` for ``model``; with ``against``, also the same columns as ``against_*``, and ``gain``
    float64, the difference in the first of ``figures``. An item whose request the engine cannot serve fails;
    other items are not affected.

    Metrics: ``n`` and ``model``, the mean of each of ``figures``. With ``against``, also ``against``
    likewise, ``gain`` (of the first figure) and ``gain_NAME`` (of each other figure) ``{metric, mean, ci_low,
    ci_high, p_two_sided, ...}`` from the paired bootstrap, and ``decision`` by ``gain``: ``better``,
    ``worse``, or ``abstain`` if the interval contains zero.
    """

    batch_rows: ClassVar[int] = 64
    seeded: ClassVar[bool] = True
    #: The name of each figure, and its float64 column per item. The first figure decides.
    figures: ClassVar[Mapping[str, str]]

    model: ModelRef
    """Model to evaluate: a name under `models`, or a train step, whose student is then evaluated."""
    against: ModelRef | None = None
    """Model to compare with on the same items and seeds. By default there is none, and no gain is
    measured."""
    samples: PositiveInt = 1
    """Answers per item. More than one requires a temperature above 0."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Randomness of sampling. The default, 0, always takes the likeliest token."""
    max_tokens: PositiveInt = 256
    """Maximum length of an answer, in tokens."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence level of the interval of the gain, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Number of resamples of the paired bootstrap."""

    @abstractmethod
    def asking(self) -> Generator:
        """Return the step that generates and checks the answers. Raises ValueError if it is not valid."""

    @abstractmethod
    def judged(self, trials: Sequence[Trial]) -> Row:
        """Return the columns of an item, from one model's answers to it (at least one)."""

    def model_post_init(self, _: Any) -> None:
        self.asking()  # the same rules as for generating

    def content(self) -> Mapping[str, str]:
        return self.asking().content()

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        wanted = self.asking().sampling().needs()
        return {"model": wanted, "against": wanted} if self.against is not None else {"model": wanted}

    def estimate(self, rows: int) -> Estimate:
        asked = self.asking().estimate(rows * len(self._models()))
        return replace(asked, rows=rows)

    def open(self, context: Context) -> Apply:
        asking = self.asking()
        request = asking.request(context)
        judge = None if asking.check is None else asking.check.open(context)
        sides = {
            prefix: SamplingPlan(
                context.engine(name), context.seed, asking.policy(), request, asking.read, judge
            )
            for prefix, name in self._models().items()
        }

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            # In sequence: two engines on one CPU would slow each other down.
            answers = {prefix: await sample_rows(plan, rows) for prefix, plan in sides.items()}
            return [
                [self._item({prefix: side[index] for prefix, side in answers.items()})]
                for index in range(len(rows))
            ]

        return apply

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        metrics: dict[str, Any] = {"n": table.num_rows}
        if table.num_rows == 0:
            return metrics
        for side, prefix in zip(("model", "against"), self._models()):
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

    def _models(self) -> dict[str, str]:
        """The models to ask, by the prefix of their columns."""
        return {"": self.model, **({"against_": self.against} if self.against is not None else {})}

    def _item(self, sides: Mapping[str, Sequence[Trial] | Failed]) -> Outcome:
        item: Row = {}
        for prefix, trials in sides.items():
            if isinstance(trials, Failed):
                return trials
            if not all(trial.answered for trial in trials):
                refused = next(trial for trial in trials if not trial.answered).outcomes[0]
                assert isinstance(refused, Failed)
                return Failed(refused.error)
            item |= {prefix + name: value for name, value in self.judged(trials).items()}
        if self.against is not None:
            score = next(iter(self.figures.values()))
            item["gain"] = item[score] - item[f"against_{score}"]
        return Kept(item)
