"""``score: judge``: models rate each response by a rubric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from ...contracts.operators import Estimate
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .agreement import krippendorff_alpha, mean_difference
from .label_probabilities import Answer, AsksForLabels, Question, ToOutcome, ToQuestions
from .responses import answered, check_response_columns
from .rubric import Criterion

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Length of a question that estimates assume while it is unknown (tokens).
_QUESTION_TOKENS = 384


class RubricJudge(AsksForLabels):
    """Rates each response by a rubric, with the expected score of one or several models.

    A judge is asked for each criterion by itself. Its score is the mean of the scale's scores, weighted by
    the probability that the judge gives to each as its next token (G-Eval: Liu et al., 2023,
    arXiv:2303.16634), which is finer than the score that it would write. Several judges are averaged, and the
    report says how far they agree. A row whose judge gives no readable answer fails alone.

    Reads:
        prompt, response, system (text) or messages (list of turns): by default the conversation that
            training would read; its last turn is rated.
        the columns that `response` and `prompt` name, if given.

    Adds:
        judge_NAME (float64): score of each criterion on its own scale, the mean over the judges.
        judge (float64): weighted mean of the criteria, each rescaled to 0 to 1, over the judges.
        judges (list of float64): `judge` of each model, in the order of `model`.

    Metrics:
        agreement.alpha: Krippendorff's alpha of the judges, if there are several.
        agreement.mean_difference: mean absolute difference of two judges.

    Example:
        rated:
          score: judge
          from: answers
          model: [teacher, other]
          criteria:
            - {name: correct, about: Is the answer right, levels: {"1": wrong, "5": right and complete}}
    """

    criteria: tuple[Criterion, ...] = Field(min_length=1)
    """What is rated: a list of `{name: ..., about: ...}` with a scale and, if wanted, the meaning of its
    levels and examples."""
    response: str | None = None
    """Column with the response. By default the last turn of the conversation, which must be the
    assistant's."""
    prompt: str | None = None
    """Column with the prompt, if `response` is given. By default `prompt` or, if the row has none,
    `messages` without a last turn of the assistant's."""
    prefix: str = Field(default="judge", pattern=r"^[a-zA-Z]\w*$")
    """Name of the overall score, and beginning of the other names."""

    @field_validator("criteria")
    @classmethod
    def _differ(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        names = [criterion.name for criterion in criteria]
        if len(set(names)) < len(names):
            raise ValueError(f"a criterion is listed twice in {names}")
        return criteria

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            **{f"{self.prefix}_{criterion.name}": pa.float64() for criterion in self.criteria},
            self.prefix: pa.float64(),
            f"{self.prefix}s": pa.list_(pa.float64()),
        }

    def check_columns(self, columns: Sequence[str]) -> None:
        check_response_columns(columns, self.prompt, self.response)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *self.types()]))

    def estimate(self, rows: int) -> Estimate:
        """Estimate questions of 384 tokens, until a run measured them."""
        return self.cost(rows, len(self.criteria), _QUESTION_TOKENS)

    def asking(self, context: Context) -> tuple[ToQuestions, ToOutcome]:
        return self._questions, self._outcome

    def _questions(self, row: Row) -> list[Question]:
        *before, last = answered(row, self.prompt, self.response, None)
        return [
            Question(
                f"{row['_id']}:{criterion.name}",
                criterion.question(before, last["content"]),
                criterion.labels,
            )
            for criterion in self.criteria
        ]

    def _outcome(self, answers: Sequence[Sequence[Answer]]) -> Outcome:
        """Combine the answers of each judge to each criterion."""
        scores: list[list[float]] = []
        for of_one in answers:
            scores.append([])
            for answer in of_one:
                if isinstance(answer, str):
                    return Failed(answer)
                scores[-1].append(sum(int(label) * share for label, share in answer.items()))
        overall = [self._overall(own) for own in scores]
        made: Row = {
            f"{self.prefix}_{criterion.name}": sum(own[place] for own in scores) / len(scores)
            for place, criterion in enumerate(self.criteria)
        }
        made |= {self.prefix: sum(overall) / len(overall), f"{self.prefix}s": overall}
        return Kept(made)

    def _overall(self, scores: Sequence[float]) -> float:
        shares = [
            criterion.weight * (score - criterion.low) / (criterion.high - criterion.low)
            for criterion, score in zip(self.criteria, scores, strict=True)
        ]
        return sum(shares) / sum(criterion.weight for criterion in self.criteria)

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        return agreement(table, f"{self.prefix}s", len(self.model))


def agreement(table: pa.Table, column: str, judges: int) -> Mapping[str, Any]:
    """Return the agreement of the judges whose scores are the lists in ``column``; none for a single one."""
    import numpy as np

    if judges < 2:
        return {}
    lists = table.column(column).drop_null().to_pylist()
    scores = np.array(lists, dtype=np.float64).reshape(-1, judges)
    return {"agreement": {"alpha": krippendorff_alpha(scores), "mean_difference": mean_difference(scores)}}
