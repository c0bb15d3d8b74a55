"""Base of the generators: a model is asked about each row in several trials, and its answers are checked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from ...contracts.inference import Capability
from ...contracts.operators import Apply, Estimate, Map, ModelRef
from ...contracts.outcomes import Failed, Filtered, Kept, Outcome
from ...contracts.rows import Row
from ...contracts.sampling_parameters import SamplingParameters
from .answer_check import PASSED, AnswerCheck
from .sampling_loop import Answer, SamplingPlan, ToRequest, sample_rows
from .sampling_policies import AnyPolicy, Fixed, Policy, Trial

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Prompt length that estimates assume while it is unknown (tokens).
_PROMPT_TOKENS = 128


class Generator(SamplingParameters, Map):
    """A map that asks a model about each row, once or several times, and makes new rows from its answers.

    With ``check``, each new row is judged before the next sample is requested. It gets the verifier's
    columns, ``trials`` int32 (number of samples of its parent) and ``pass_rate`` float64 (share of them that
    passed).
    """

    makes_rows: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 16
    seeded: ClassVar[bool] = True
    #: Whether :meth:`read` takes completions without a text: calls of tools, and thoughts that were cut.
    reads_whole: ClassVar[bool] = False

    model: ModelRef
    """Model to ask: a name under `models`, or a train step, whose student is then asked."""
    samples: PositiveInt = 1
    """Answers per row, each with its own seed. More than one requires a temperature above 0."""
    trials: AnyPolicy | None = None
    """Policy that decides, from the answers so far, how many a row gets. It replaces the fixed number
    `samples`."""
    check: AnswerCheck | None = None
    """Verifier that judges each row made from an answer, as `{verify: NAME, ...}`. By default answers are not
    judged here."""
    take: Literal["all", "passed", "first"] = "all"
    """Which of the new rows to keep: `all`; those that `passed` the check, at most as many as `trials` wants;
    or the `first` that passed. The last two require `check`."""

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        if self.trials is not None and self.samples != 1:
            raise ValueError("give `samples` (a fixed number) or `trials` (a policy), not both")
        needing = "take" if self.take != "all" else "trials" if self.policy().judges() else None
        if needing is not None and self.check is None:
            raise ValueError(f"`{needing}` requires a verdict on each answer: add `check: {{verify: ...}}`")
        if self.policy().most() > 1 and self.temperature == 0:
            raise ValueError("several samples at temperature 0 are one sample: set temperature above 0")

    @abstractmethod
    def request(self, context: Context) -> ToRequest:
        """Return the function that makes a row's request. Templates are compiled here."""

    @abstractmethod
    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        """Convert one answer to outcomes: at least one, each with the index of the ``sample``."""

    def lacks(self, record: Row) -> bool:
        """Whether a record could not be judged because the answer itself lacks what is judged."""
        return False

    def made(self) -> Mapping[str, pa.DataType]:
        """Arrow types of the columns that :meth:`read` adds."""
        return {}

    def policy(self) -> Policy:
        return self.trials or Fixed(samples=self.samples)

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        return {"model": self.sampling().needs()}

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        if self.check is None:
            return self.made()
        tried = {"trials": pa.int32(), "pass_rate": pa.float64()}
        return {**self.made(), **self.check.operator.types(), **tried}

    def check_verifier(self, columns: Sequence[str]) -> None:
        """Raise DataError if the verifier of ``check`` reads a column that neither the row nor its answer
        has."""
        if self.check is not None:
            self.check.operator.check_columns([*columns, *self.made()])

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        judged = () if self.check is None else self.check.operator.makes_columns([])
        return None if columns is None or judged is None else [*columns, *self.types(), *judged]

    def estimate(self, rows: int) -> Estimate:
        """Estimate prompts of 128 tokens and completions of half of ``max_tokens``, until a run measured
        them."""
        requests = rows * self.policy().most()
        return Estimate(
            rows=rows if self.take == "first" else requests,
            requests=requests,
            prompt_tokens=requests * _PROMPT_TOKENS,
            completion_tokens=requests * self.max_tokens // 2,
            runs=0 if self.check is None else self.check.operator.estimate(requests).runs,
        )

    def open(self, context: Context) -> Apply:
        plan = SamplingPlan(
            context.engine(self.model),
            context.seed,
            self.policy(),
            self.request(context),
            self.read,
            self.lacks,
            None if self.check is None else self.check.open(context),
            self.reads_whole,
        )

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [
                [trials] if isinstance(trials, Failed) else self.chosen(trials)
                for trials in await sample_rows(plan, rows)
            ]

        return apply

    def chosen(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Return the outcomes of a row whose trials are finished."""
        if self.check is None:
            return [outcome for trial in trials for outcome in trial.outcomes]
        told = {"trials": len(trials), "pass_rate": sum(trial.passed for trial in trials) / len(trials)}
        wanted = 1 if self.take == "first" else self.policy().wanted(trials)
        outcomes: list[Outcome] = []
        kept = 0
        for outcome in (outcome for trial in trials for outcome in trial.outcomes):
            if not isinstance(outcome, Kept):
                outcomes.append(outcome)
                continue
            row = {**outcome.row, **told}
            if self.take == "all":
                outcomes.append(Kept(row))
            elif row.get(PASSED) is not True:
                outcomes.append(Filtered("not_passed", row=row))
            elif wanted is not None and kept >= wanted:
                outcomes.append(Filtered("surplus", row=row))
            else:
                kept += 1
                outcomes.append(Kept(row))
        return outcomes
