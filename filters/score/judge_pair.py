"""``score: judge_pair``: models say which of two responses is better, in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...contracts.operators import Estimate
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .judge import agreement
from .label_probabilities import Answer, AsksForLabels, Question, ToOutcome, ToQuestions
from .responses import answered, check_response_columns
from .rubric import Criterion, comparison

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Length of a question that estimates assume while it is unknown (tokens).
_QUESTION_TOKENS = 512
LABELS = ("A", "B")


class JudgePair(AsksForLabels):
    """Compares two responses of each row, by one or several models, each asked in both orders.

    Judges favor a position (Zheng et al., "Judging LLM-as-a-Judge", 2023, arXiv:2306.05685). So each judge is
    asked twice, with the responses swapped; a judge whose two answers disagree says that they are tied. A
    row whose judge gives no readable answer fails alone.

    Reads:
        the columns that `a` and `b` name (text): the two responses.
        prompt, system (text) or messages (list of turns): the request.

    Adds:
        winner (text): `a`, `b` or `tie`: which one most judges prefer.
        preference (float64): probability that `a` is better, the mean over both orders and all judges.
        preferences (list of float64): that of each model, in the order of `model`.
        consistent (float64): share of the judges whose two answers agree.

    Metrics:
        agreement.alpha: Krippendorff's alpha of the judges' preferences, if there are several.
        agreement.mean_difference: mean absolute difference of two judges.

    Example:
        compared: {score: judge_pair, from: pairs, model: teacher, a: chosen, b: rejected}
    """

    a: str
    """Column with one response."""
    b: str
    """Column with the other response."""
    prompt: str | None = None
    """Column with the prompt. By default `prompt` or, if the row has none, `messages` without a last turn of
    the assistant's."""
    criteria: tuple[Criterion, ...] = ()
    """Criteria that the judge is told, a list of `{name: ..., about: ...}`. By default it decides which
    response is better as a whole."""

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        if self.a == self.b:
            raise ValueError(f"`a` and `b` name the same column '{self.a}'")

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "winner": pa.string(),
            "preference": pa.float64(),
            "preferences": pa.list_(pa.float64()),
            "consistent": pa.float64(),
        }

    def check_columns(self, columns: Sequence[str]) -> None:
        check_response_columns(columns, self.prompt, self.a)
        check_response_columns(columns, self.prompt, self.b)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *self.types()]))

    def estimate(self, rows: int) -> Estimate:
        """Estimate questions of 512 tokens, until a run measured them."""
        return self.cost(rows, 2, _QUESTION_TOKENS)

    def asking(self, context: Context) -> tuple[ToQuestions, ToOutcome]:
        return self._questions, _outcome

    def _questions(self, row: Row) -> list[Question]:
        """Return the question in both orders: ``a`` first, then ``b`` first."""
        *before, first = answered(row, self.prompt, self.a, None)
        second = answered(row, self.prompt, self.b, None)[-1]
        texts = (first["content"], second["content"])
        return [
            Question(f"{row['_id']}:{order}", comparison(self.criteria, before, *pair), LABELS)
            for order, pair in (("ab", texts), ("ba", texts[::-1]))
        ]

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        return agreement(table, "preferences", len(self.model))


def in_both_orders(answers: Sequence[Mapping[str, float]]) -> tuple[float, int]:
    """Return the probability that the first is better, and the verdict: 1, -1 or 0 for a tie.

    ``answers``: with the first shown as A, then with the second shown as A. The verdict is a tie unless both
    prefer the same one.
    """
    first = answers[0]["A"], answers[1]["B"]
    verdict = 1 if min(first) > 0.5 else -1 if max(first) < 0.5 else 0
    return sum(first) / 2, verdict


def _outcome(answers: Sequence[Sequence[Answer]]) -> Outcome:
    judged: list[tuple[float, int]] = []
    for of_one in answers:
        readable: list[Mapping[str, float]] = []
        for answer in of_one:
            if isinstance(answer, str):
                return Failed(answer)
            readable.append(answer)
        judged.append(in_both_orders(readable))
    preferences = [preference for preference, _ in judged]
    votes = sum(verdict for _, verdict in judged)
    return Kept(
        {
            "winner": "a" if votes > 0 else "b" if votes < 0 else "tie",
            "preference": sum(preferences) / len(preferences),
            "preferences": preferences,
            "consistent": sum(verdict != 0 for _, verdict in judged) / len(judged),
        }
    )
