"""``score: meta_ranking``: a weak model compares responses with references of known quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.operators import Estimate, FilledStepRef, check_names
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..columns import number_column
from .judge_pair import LABELS, in_both_orders
from .label_probabilities import Answer, AsksForLabels, Question, ToOutcome, ToQuestions
from .responses import answered, check_response_columns
from .rubric import request_text

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Length of a question that estimates assume while it is unknown (tokens), and number of references.
_QUESTION_TOKENS = 512
_REFERENCES = 5


class MetaRanking(AsksForLabels):
    """Judges whether a response is reliable, by comparison with references of known quality.

    A model too weak to rate one response can often say which of two is more reliable, also if they answer
    different requests (Meta Ranking: Liu et al., 2024, arXiv:2402.12146). Each row is compared with every
    reference, in both orders. Being preferred to a good reference is a vote for the response, being worse
    than a bad one is a vote against it; the other results say nothing. A tie counts half of both.

    Reads:
        prompt, response, system (text) or messages (list of turns): the conversation that training would
            read, for the rows and for the references.

    Adds:
        meta_ranking (float64): mean vote over the references and models, -1 to 1. Above 0, the response is
            judged reliable.

    Example:
        judged: {score: meta_ranking, from: answers, reference: labelled, quality: passed, model: small}
    """

    reference: FilledStepRef
    """Step with a few pairs of known quality, about five, good and bad ones: references that are all of one
    kind are refused. Each is asked about twice per row."""
    quality: str
    """Column of the references with their quality, a number from 0 (bad) to 1 (good), or true and false."""

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"meta_ranking": pa.float64()}

    def check_columns(self, columns: Sequence[str]) -> None:
        check_response_columns(columns, None, None)

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names([self.quality], columns, f"the step '{step}' (`reference`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *self.types()]))

    def estimate(self, rows: int) -> Estimate:
        """Estimate five references and questions of 512 tokens, until a run measured them."""
        return self.cost(rows, 2 * _REFERENCES, _QUESTION_TOKENS)

    def asking(self, context: Context) -> tuple[ToQuestions, ToOutcome]:
        """Read the references.

        Raises DataError if there are none, if one has no text or quality, or if all are good or all are bad.
        """
        table = context.table(self.reference)
        values = number_column(table, self.quality, f"score: meta_ranking, references {self.reference!r}")
        qualities = [float(value) for value in values]
        if not qualities:
            raise DataError(f"the references have no rows: {self.reference!r} kept none")
        shown = []
        for row, quality in zip(table.to_pylist(), qualities, strict=True):
            if not 0 <= quality <= 1:
                found = "null" if quality == float("-inf") else quality
                raise DataError(
                    f"the reference {row['_id']} of {self.reference!r} has the quality {found} in "
                    f"'{self.quality}'; it must be from 0 to 1"
                )
            shown.append(_shown(row))
        if not min(qualities) <= 0.5 <= max(qualities):
            # Against bad ones alone no vote is for a response, against good ones alone none against it.
            found, missing = ("good", "bad") if min(qualities) > 0.5 else ("bad", "good")
            raise DataError(
                f"the references of {self.reference!r} are all {found}: their '{self.quality}' is from "
                f"{min(qualities):g} to {max(qualities):g}; add {missing} ones"
            )

        def questions(row: Row) -> list[Question]:
            own = _shown(row)
            return [
                Question(f"{row['_id']}:{place}:{order}", _comparison(*pair), LABELS)
                for place, reference in enumerate(shown)
                for order, pair in (("ab", (own, reference)), ("ba", (reference, own)))
            ]

        def outcome(answers: Sequence[Sequence[Answer]]) -> Outcome:
            votes: list[float] = []
            for of_one in answers:
                readable: list[Mapping[str, float]] = []
                for answer in of_one:
                    if isinstance(answer, str):
                        return Failed(answer)
                    readable.append(answer)
                for place, quality in enumerate(qualities):
                    _, verdict = in_both_orders(readable[2 * place : 2 * place + 2])
                    votes.append(vote(verdict, quality))
            return Kept({"meta_ranking": sum(votes) / len(votes)})

        return questions, outcome


def vote(verdict: int, quality: float) -> float:
    """Return the vote of one comparison, -1 to 1.

    ``verdict``: 1 if the response is preferred to a reference of that ``quality``, -1 if it is not, 0 for a
    tie, in which case it is as good as the reference.
    """
    if verdict > 0:
        return quality
    if verdict < 0:
        return quality - 1
    return quality - 0.5


def _shown(row: Row) -> str:
    *before, last = answered(row, None, None, None)
    return f"Request:\n{request_text(before)}\n\nResponse:\n{last['content']}"


def _comparison(first: str, second: str) -> str:
    return "\n\n".join(
        [
            "Each of these two requests has a response. Which response is the more correct and reliable "
            "answer to its own request?",
            f"--- A ---\n{first}",
            f"--- B ---\n{second}",
            "--- End ---\nReply with A or B and nothing else.",
        ]
    )
