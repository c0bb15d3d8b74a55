"""``draw:`` fills columns at random, so that a template can vary its request from row to row."""

from __future__ import annotations

import json
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from ...contracts.errors import DataError
from ...contracts.frozen import Frozen
from ...contracts.inference import derive_seed
from ...contracts.operators import Apply, Estimate, FilledStepRef, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .samplers import Depending, Number, Weights, category, drawing, type_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: The columns that the operator itself adds.
_COPY, _EXAMPLES = "copy", "examples"


def _texts(value: object) -> object:
    return [category(each) for each in value] if isinstance(value, (list, tuple)) else value


class Several(Frozen):
    """Several different items of a list, in random order."""

    of: Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=list[str | float])]
    """Items to draw from. Numbers become text."""
    count: PositiveInt = 2
    """How many different items to draw."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if len(set(self.of)) < self.count:
            raise ValueError(f"count requires {self.count} different items of {len(set(self.of))}")
        return self


class Draw(Map):
    """Fills columns at random, so that a template can vary its request from row to row.

    For example ``draw: {area: [bugs, speed], level: {easy: 4, hard: 1}}``. A draw depends only on the step's
    seed, the row's ``_id``, the copy and the column's name, so adding a column changes no other. A row fails
    if the pool has too few other rows, or if there is no case for what another column holds.

    Adds:
        copy (int32): index of the copy, from 0, if `times` is above 1.
        examples (list of records): rows drawn from `pool`, with the columns `pool_columns`.

    Example:
        drawn:
          draw: {area: [bugs, performance], level: {function: 4, class: 1, file: 1}}
          from: slots
          distinct: {skills: {of: [parsing, recursion, caching, testing], count: 2}}
          numbers: {lines: {kind: integer, low: 10, high: 80}}
          times: 3
          pool: seeds
    """

    makes_rows: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    value_field: ClassVar[str | None] = "draw"

    draw: dict[str, Weights]
    """Columns to add, each drawn from a list (with equal weights) or from a mapping of items to weights.
    Values are text; numbers in a list become text."""
    numbers: dict[str, Number] = Field(default_factory=dict)
    """Columns of numbers: `{NAME: {kind: integer, low: 1, high: 6}}`, `{kind: uniform, low: 0, high: 1}` or
    `{kind: normal, mean: 100, deviation: 20}`."""
    depending: dict[str, Depending] = Field(default_factory=dict)
    """Columns that depend on another one, of the rows or drawn too: `{NAME: {by: level, cases: {easy: [a, b],
    hard: {c: 2, d: 1}}, otherwise: [e]}}`. A case draws categories, or a number as in `numbers`."""
    distinct: dict[str, Several] = Field(default_factory=dict)
    """Columns that hold several different items each, as a list of texts: `{NAME: {of: [...], count: 2}}`."""
    times: PositiveInt = 1
    """Copies to make of each row, each with its own draws."""
    pool: FilledStepRef | None = None
    """Step whose kept rows are the pool of examples. They are drawn without replacement, and a row is never
    its own example. By default none are drawn."""
    pool_rows: PositiveInt = 3
    """Rows to draw from the pool for each copy."""
    pool_columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns of the pool to include in an example. Values other than text become JSON text."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        own = {_COPY} if self.times > 1 else set()
        own |= {_EXAMPLES} if self.pool is not None else set()
        named = Counter((*self.draw, *self.numbers, *self.depending, *self.distinct))
        for name in named:
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column cannot be called {name!r}: names that start with _ are reserved for the runner"
                )
            if name in own or named[name] > 1:
                raise ValueError(f"the column {name!r} is made twice: rename the drawn column")
        self._order()
        if not (named or self.pool or self.times > 1):
            raise ValueError("nothing to draw: name a column, such as `draw: {level: [easy, hard]}`")
        return self

    @property
    def _samplers(self) -> dict[str, Any]:
        return {**self.draw, **self.numbers, **self.depending}

    def _order(self) -> list[str]:
        """Return the drawn columns so that each comes after the one that decides it."""
        for name, each in self.depending.items():
            if each.by in self.distinct:
                raise ValueError(f"{name}: the column {each.by!r} holds several items and cannot decide")
            unknown = sorted(set(self.draw.get(each.by, ())) - set(each.cases))
            if unknown and each.otherwise is None:
                raise ValueError(
                    f"{name}: no case for {', '.join(unknown)} of the column {each.by!r}: add it, or "
                    "`otherwise`"
                )
        samplers = self._samplers
        before = {name: {each.by} & set(samplers) for name, each in self.depending.items()}
        try:
            return list(TopologicalSorter({**{name: set() for name in samplers}, **before}).static_order())
        except CycleError as error:
            raise ValueError(f"columns that decide each other: {' -> '.join(error.args[1])}") from None

    def uses_columns(self) -> Sequence[str]:
        return sorted({each.by for each in self.depending.values()} - set(self._samplers))

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self.times)

    def distinct_values(self) -> Mapping[str, int]:
        return {name: sum(weight > 0 for weight in weights.values()) for name, weights in self.draw.items()}

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        types: dict[str, pa.DataType] = {name: type_of(each) for name, each in self._samplers.items()}
        types |= dict.fromkeys(self.distinct, pa.list_(text))
        if self.times > 1:
            types[_COPY] = pa.int32()
        if self.pool is not None:
            types[_EXAMPLES] = pa.list_(pa.struct([(name, text) for name in self.pool_columns]))
        return types

    def open(self, context: Context) -> Apply:
        seed = context.seed
        pool = None if self.pool is None else Pool(context.table(self.pool), self.pool, self.pool_columns)
        samplers = self._samplers
        columns = {name: _column(name, samplers[name]) for name in self._order()}

        def drawn(row: Row, copy: int) -> Row:
            made: Row = {_COPY: copy} if self.times > 1 else {}
            known = ChainMap(made, row)
            for name, draw in columns.items():
                made[name] = draw(known, derive_seed(seed, row["_id"], copy, name))
            for name, several in self.distinct.items():
                random = Random(derive_seed(seed, row["_id"], copy, name))
                made[name] = random.sample(list(dict.fromkeys(several.of)), several.count)
            if pool is not None:
                random = Random(derive_seed(seed, row["_id"], copy, _EXAMPLES))
                made[_EXAMPLES] = pool.draw(random, self.pool_rows, row["_id"])
            return made

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[outcome(row, copy) for copy in range(self.times)] for row in rows]

        def outcome(row: Row, copy: int) -> Outcome:
            try:
                return Kept(drawn(row, copy))
            except DataError as error:
                return Failed(error.message)

        return apply


def _column(name: str, sampler: Any) -> Callable[[Mapping[str, Any], int], object]:
    """Return what draws a column of a row at a point. It raises DataError if no case fits."""
    if not isinstance(sampler, Depending):
        plain = drawing(sampler)
        return lambda row, point: plain(point)
    cases = {value: drawing(each) for value, each in sampler.cases.items()}
    otherwise = None if sampler.otherwise is None else drawing(sampler.otherwise)

    def decided(row: Mapping[str, Any], point: int) -> object:
        value = row.get(sampler.by)
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        chosen = cases.get(text, otherwise) if value is not None else otherwise
        if chosen is None:
            raise DataError(
                f"draw: {name}: column {sampler.by!r} holds {value!r:.80}, and there is no case for it: add "
                "it, or `otherwise`"
            )
        return chosen(point)

    return decided


class Pool:
    """Rows to draw examples from."""

    def __init__(self, table: pa.Table, step: str, columns: Sequence[str]) -> None:
        """Raises DataError if the table lacks one of ``columns``. Without rows it may: it has no columns."""
        self.step = step
        self.places: dict[str, int] = {}
        self.rows: list[dict[str, str | None]] = []
        if not table.num_rows:
            return
        for name in columns:
            if name not in table.column_names:
                known = ", ".join(each for each in table.column_names if each[0] != "_") or "none"
                raise DataError(f"pool_columns: step {step!r} has no column {name!r}; it has {known}")
        self.places = {name: place for place, name in enumerate(table["_id"].to_pylist())}
        self.rows = [
            {name: _as_text(value) for name, value in row.items()}
            for row in table.select(list(columns)).to_pylist()
        ]

    def draw(self, random: Random, count: int, but: str) -> list[dict[str, str | None]]:
        """Draw ``count`` different rows other than ``but``. Raises DataError if there are too few."""
        own = self.places.get(but)
        others = len(self.rows) - (own is not None)
        if others < count:
            raise DataError(
                f"draw: the pool {self.step!r} holds {others} other rows, and pool_rows is {count}"
            )
        # One more than needed, because the row itself may be drawn.
        places = random.sample(range(len(self.rows)), count + (own is not None))
        return [self.rows[place] for place in places if place != own][:count]


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
