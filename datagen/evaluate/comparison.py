"""Base of evaluations whose items are answered by the models and checked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.inference import Capability
from ...contracts.operators import Apply, Estimate
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..generate.generator import Generator
from ..generate.sampling_loop import SamplingPlan, sample_rows
from ..generate.sampling_policies import Trial, without_verdict
from .paired import PairedEvaluation


class Comparison(PairedEvaluation):
    """Asks ``model`` (and ``against``) about every row of ``tasks``, and checks the answers.

    Each item gets ``samples`` answers at ``temperature`` (0: greedy), and the columns of :meth:`judged`. An
    item fails if the engine cannot serve its request, or if one of its answers cannot be judged, since its
    score is then unknown. Other items are not affected.
    """

    seeded: ClassVar[bool] = True

    samples: PositiveInt = 1
    """Answers per item. More than one requires a temperature above 0."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Randomness of sampling. The default, 0, always takes the likeliest token."""
    max_tokens: PositiveInt = 256
    """Maximum length of an answer, in tokens."""

    @abstractmethod
    def asking(self) -> Generator:
        """Return the step that generates and checks the answers. Raises ValueError if it is not valid."""

    @abstractmethod
    def judged(self, trials: Sequence[Trial]) -> Row:
        """Return the columns of an item, from one model's answers to it (at least one)."""

    def asked_columns(self) -> Iterable[str]:
        return self.asking().names_columns()

    def samples_answers(self) -> bool:
        return self.temperature > 0

    def model_post_init(self, _: Any) -> None:
        self.asking()  # the same rules as for generating

    def content(self) -> Mapping[str, str]:
        return self.asking().content()

    def inspect(self) -> None:
        self.asking().inspect()

    def check_columns(self, columns: Sequence[str]) -> None:
        self.asking().check_columns(columns)

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        wanted = self.asking().sampling().needs()
        return dict.fromkeys(self.asks(), wanted)

    def estimate(self, rows: int) -> Estimate:
        asked = self.asking().estimate(rows * len({*self.models().values()}))
        return replace(asked, rows=rows)

    def open(self, context: Context) -> Apply:
        asking = self.asking()
        request = asking.request(context)
        judge = None if asking.check is None else asking.check.open(context)
        measured = self.measured(context)
        plans = {
            name: SamplingPlan(
                context.engine(name),
                context.seed,
                asking.policy(),
                request,
                asking.read,
                asking.lacks,
                judge,
                whole=True,
            )
            for name in dict.fromkeys(self.models().values())
            if name not in measured
        }

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            sides = self.known(measured, rows)
            # In sequence: two engines on one CPU would slow each other down.
            for name, plan in plans.items():
                sides[name] = [self._side(trials) for trials in await sample_rows(plan, rows)]
            return self.items(sides)

        return apply

    def _side(self, trials: Sequence[Trial] | Failed) -> Outcome:
        """What one model's answers to an item are worth."""
        if isinstance(trials, Failed):
            return trials
        if not all(trial.answered for trial in trials):
            refused = next(trial for trial in trials if not trial.answered).outcomes[0]
            assert isinstance(refused, Failed)
            return Failed(refused.error)
        return without_verdict(trials) or Kept(self.judged(trials))
