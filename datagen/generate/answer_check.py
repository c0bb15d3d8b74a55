"""``check:`` of a generator: a verifier that judges each new row before the next sample is requested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PrivateAttr, ValidationError, model_serializer

from ...contracts import registry
from ...contracts.frozen import Frozen
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ...contracts.validation import told

if TYPE_CHECKING:
    from ...contracts.context import Context

PASSED = "passed"


class AnswerCheck(Frozen):
    """A verifier that judges each row made from an answer: any ``verify`` operator that judges single rows.

    Example:
        answers: {generate: respond, from: tasks, model: base, samples: 4, check: {verify: number}}
    """

    model_config = ConfigDict(extra="allow")

    verify: str
    """Name of a `verify` operator that judges single rows. Its parameters are written next to this key. It
    reads the columns of the row, replaced by those of the answer where both have them."""
    _operator: Map = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        known = ", ".join(registry.names("verify"))
        kind = registry.find("verify", self.verify)
        if kind is None:
            raise ValueError(f"unknown operator of 'verify': found {self.verify!r}; there are {known}")
        if not issubclass(kind, Map) or kind.makes_rows:
            raise ValueError(f"verify: {self.verify} makes new rows: use it as a step")
        try:
            operator = kind.model_validate(dict(self.model_extra or {}))
        except ValidationError as error:
            mistakes = (
                f"{'.'.join(map(str, each['loc']))}: {told(each)}" for each in error.errors(include_url=False)
            )
            raise ValueError(f"verify: {self.verify}: {'; '.join(mistakes)}") from None
        if next(operator.references(), None) is not None:
            raise ValueError(f"verify: {self.verify} names a model or a step: use it as a separate step")
        self._operator = operator

    @model_serializer
    def _canonical(self) -> dict[str, Any]:
        """With defaults and the operator's version: everything that determines its verdicts."""
        operator = self._operator
        return {
            "verify": self.verify,
            "version": type(operator).version,
            **operator.model_dump(mode="json"),
            **operator.content(),
        }

    @property
    def operator(self) -> Map:
        return self._operator

    def open(self, context: Context) -> AnswerJudge:
        return AnswerJudge(self._operator.open(context))


class AnswerJudge:
    """An opened check."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply

    async def __call__(self, rows: Sequence[Row], made: Sequence[Sequence[Outcome]]) -> list[list[Outcome]]:
        """Judge the outcomes ``made[i]`` of ``rows[i]``; kept rows get the verifier's columns or its
        decision."""
        asked: list[Row] = []
        places: list[tuple[int, int]] = []
        for index, outcomes in enumerate(made):
            for item, outcome in enumerate(outcomes):
                if isinstance(outcome, Kept):
                    # A separate id, so that random draws of the verifier differ between samples.
                    sample = outcome.row.get("sample", 0)
                    name = f"{rows[index]['_id']}:{sample}:{item}"
                    asked.append({**rows[index], **outcome.row, "_id": name})
                    places.append((index, item))
        judged = [list(outcomes) for outcomes in made]
        answers = await self._apply(asked) if asked else []
        for (index, item), [verdict] in zip(places, answers, strict=True):
            row = {**judged[index][item].row, **verdict.row}
            judged[index][item] = Kept(row) if isinstance(verdict, Kept) else _with_row(verdict, row)
        return judged


def _with_row(outcome: Outcome, row: Row) -> Outcome:
    if isinstance(outcome, Failed):
        return Failed(outcome.error, outcome.retryable, row)
    assert not isinstance(outcome, Kept)
    return type(outcome)(outcome.rule, outcome.score, outcome.duplicate_of, row)


def passes(outcomes: Sequence[Outcome]) -> bool:
    """Whether any record of an answer passed."""
    return any(isinstance(each, Kept) and each.row.get(PASSED) is True for each in outcomes)
