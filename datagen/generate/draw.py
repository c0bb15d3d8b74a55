"""``draw:`` fills columns at random, so that a template can vary its request from row to row."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from ...contracts.errors import DataError
from ...contracts.frozen import Frozen
from ...contracts.inference import derive_seed
from ...contracts.operators import Apply, Estimate, Map, StepRef
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context

#: The columns that the operator itself adds.
_COPY, _EXAMPLES = "copy", "examples"
#: :func:`derive_seed` gives numbers below this.
_SEEDS = 2**31


def _text(value: object) -> str:
    """Convert a category, which is text or a number, to text. Booleans are refused: a prompt would print
    True."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a category must be text or a number; found {value!r}: write it in quotes")
    return value if isinstance(value, str) else str(value)


def _texts(value: object) -> object:
    return [_text(each) for each in value] if isinstance(value, (list, tuple)) else value


def _weighted(value: object) -> object:
    """Return the weight of each category, from a list (equal weights) or a mapping."""
    if isinstance(value, (list, tuple)):
        texts = [_text(each) for each in value]
        if len(set(texts)) < len(texts):
            raise ValueError(f"a category is listed twice in {texts}: give weights, such as {{a: 2, b: 1}}")
        value = dict.fromkeys(texts, 1.0)
    if not isinstance(value, Mapping):
        raise ValueError(
            f"expected categories, [a, b] or {{a: 2, b: 1}}; found {value!r} (parameters stand "
            "beside `draw:`)"
        )
    weights = {_text(name): weight for name, weight in value.items()}
    numbers = [weight for weight in weights.values() if isinstance(weight, (int, float))]
    if any(not math.isfinite(weight) or weight < 0 for weight in numbers) or not sum(numbers) > 0:
        raise ValueError(f"weights must be numbers of at least 0, and not all 0; found {weights}")
    # In a fixed order: the canonical request of a step does not preserve the order of a mapping.
    return dict(sorted(weights.items()))


Weights: TypeAlias = Annotated[
    dict[str, float],
    BeforeValidator(_weighted, json_schema_input_type=list[str | float] | dict[str, float]),
]


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
    if the pool has too few other rows.

    Adds:
        copy (int32): index of the copy, from 0, if `times` is above 1.
        examples (list of records): rows drawn from `pool`, with the columns `pool_columns`.

    Example:
        drawn:
          draw: {area: [bugs, performance], level: {function: 4, class: 1, file: 1}}
          from: slots
          distinct: {skills: {of: [parsing, recursion, caching, testing], count: 2}}
          times: 3
          pool: seeds
    """

    makes_rows: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    value_field: ClassVar[str | None] = "draw"

    draw: dict[str, Weights]
    """Columns to add, each drawn from a list (with equal weights) or from a mapping of items to weights.
    Values are text; numbers in a list become text."""
    distinct: dict[str, Several] = Field(default_factory=dict)
    """Columns that hold several different items each, as a list of texts: `{NAME: {of: [...], count: 2}}`."""
    times: PositiveInt = 1
    """Copies to make of each row, each with its own draws."""
    pool: StepRef | None = None
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
        for name in (*self.draw, *self.distinct):
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column cannot be called {name!r}: names that start with _ are reserved for the runner"
                )
            if name in own or (name in self.draw and name in self.distinct):
                raise ValueError(f"the column {name!r} is made twice: rename the drawn column")
        if not (self.draw or self.distinct or self.pool or self.times > 1):
            raise ValueError("nothing to draw: name a column, such as `draw: {level: [easy, hard]}`")
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self.times)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        types: dict[str, pa.DataType] = dict.fromkeys(self.draw, text)
        types |= dict.fromkeys(self.distinct, pa.list_(text))
        if self.times > 1:
            types[_COPY] = pa.int32()
        if self.pool is not None:
            types[_EXAMPLES] = pa.list_(pa.struct([(name, text) for name in self.pool_columns]))
        return types

    def open(self, context: Context) -> Apply:
        seed = context.seed
        pool = None if self.pool is None else Pool(context.table(self.pool), self.pool, self.pool_columns)
        weights = {name: (list(each), list(accumulate(each.values()))) for name, each in self.draw.items()}

        def drawn(row: Row, copy: int) -> Row | str:
            made: Row = {_COPY: copy} if self.times > 1 else {}
            for name, (values, ends) in weights.items():
                point = derive_seed(seed, row["_id"], copy, name) / _SEEDS * ends[-1]
                made[name] = values[bisect_right(ends, point)]
            for name, several in self.distinct.items():
                random = Random(derive_seed(seed, row["_id"], copy, name))
                made[name] = random.sample(list(dict.fromkeys(several.of)), several.count)
            if pool is not None:
                random = Random(derive_seed(seed, row["_id"], copy, _EXAMPLES))
                examples = pool.draw(random, self.pool_rows, row["_id"])
                if isinstance(examples, str):
                    return examples
                made[_EXAMPLES] = examples
            return made

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[_outcome(drawn(row, copy)) for copy in range(self.times)] for row in rows]

        return apply


def _outcome(drawn: Row | str) -> Outcome:
    return Failed(drawn) if isinstance(drawn, str) else Kept(drawn)


class Pool:
    """Rows to draw examples from."""

    def __init__(self, table: pa.Table, step: str, columns: Sequence[str]) -> None:
        """Raises DataError if the table lacks one of ``columns``."""
        for name in columns:
            if name not in table.column_names:
                known = ", ".join(each for each in table.column_names if each[0] != "_") or "none"
                raise DataError(f"pool_columns: step {step!r} has no column {name!r}; it has {known}")
        self.step = step
        self.places = {name: place for place, name in enumerate(table["_id"].to_pylist())}
        self.rows: list[dict[str, str | None]] = [
            {name: _as_text(value) for name, value in row.items()}
            for row in table.select(list(columns)).to_pylist()
        ]

    def draw(self, random: Random, count: int, but: str) -> list[dict[str, str | None]] | str:
        """Draw ``count`` different rows other than ``but``, or return why there are too few."""
        own = self.places.get(but)
        others = len(self.rows) - (own is not None)
        if others < count:
            return f"draw: the pool {self.step!r} holds {others} other rows, and pool_rows is {count}"
        # One more than needed, because the row itself may be drawn.
        places = random.sample(range(len(self.rows)), count + (own is not None))
        return [self.rows[place] for place in places if place != own][:count]


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
