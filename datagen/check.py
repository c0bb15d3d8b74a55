"""``check:`` of a generator: a verifier that judges each row it makes, before the next sample is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PrivateAttr, ValidationError, model_serializer

from ..pipelines import registry
from ..pipelines.frozen import Frozen
from ..pipelines.operator import Apply, Failed, Kept, Map, Outcome
from ..pipelines.records import Row
from ..pipelines.validation import told

if TYPE_CHECKING:
    from ..pipelines.operator import Context

PASSED = "passed"


class Check(Frozen):
    """A verifier that judges each row made of an answer: any ``verify`` operator that judges a row by itself.

    Example:
        answers: {generate: respond, from: tasks, model: base, samples: 4, check: {verify: number}}
    """

    model_config = ConfigDict(extra="allow")

    verify: str
    """Name of a `verify` operator that judges each row by itself. Its own parameters stand beside this key.
    It sees the row's columns with those of the answer put over them."""
    _operator: Map = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        known = ", ".join(registry.names("verify"))
        kind = registry.find("verify", self.verify)
        if kind is None:
            raise ValueError(f"unknown operator of 'verify': found {self.verify!r}; there are {known}")
        if not issubclass(kind, Map) or kind.makes:
            raise ValueError(f"verify: {self.verify} makes other rows of those it gets: make it a step")
        try:
            operator = kind.model_validate(dict(self.model_extra or {}))
        except ValidationError as error:
            mistakes = (
                f"{'.'.join(map(str, each['loc']))}: {told(each)}" for each in error.errors(include_url=False)
            )
            raise ValueError(f"verify: {self.verify}: {'; '.join(mistakes)}") from None
        if next(operator.references(), None) is not None:
            raise ValueError(f"verify: {self.verify} names a model or a step: make it a step of its own")
        self._operator = operator

    @model_serializer
    def _canonical(self) -> dict[str, Any]:
        """With defaults filled in and the operator's version: what decides its verdicts."""
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

    def open(self, context: Context) -> Judge:
        return Judge(self._operator.open(context))


class Judge:
    """An opened check."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply

    async def __call__(self, rows: Sequence[Row], made: Sequence[Sequence[Outcome]]) -> list[list[Outcome]]:
        """The outcomes ``made[i]`` of ``rows[i]``, those that are kept with the verifier's columns or as it decided."""
        asked: list[Row] = []
        places: list[tuple[int, int]] = []
        for index, outcomes in enumerate(made):
            for item, outcome in enumerate(outcomes):
                if isinstance(outcome, Kept):
                    # An id of its own, so that what the verifier draws differs from sample to sample.
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
    return type(outcome)(outcome.rule, outcome.score, outcome.neighbour, row)


def passes(outcomes: Sequence[Outcome]) -> bool:
    """Did any record of an answer pass?"""
    return any(isinstance(each, Kept) and each.row.get(PASSED) is True for each in outcomes)
