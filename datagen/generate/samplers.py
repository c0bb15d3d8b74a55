"""What ``draw:`` draws a column from: categories, numbers, or either as another column decides."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, FiniteFloat, Tag, model_validator

from ...contracts.frozen import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

#: A draw's point is one of so many, from 0 below 1.
POINTS = 2**31


def category(value: object) -> str:
    """Convert a category, which is text or a number, to text. Booleans are refused: a prompt would print
    True."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a category must be text or a number; found {value!r}: write it in quotes")
    return value if isinstance(value, str) else str(value)


def _weighted(value: object) -> object:
    """Return the weight of each category, from a list (equal weights) or a mapping."""
    if isinstance(value, (list, tuple)):
        texts = [category(each) for each in value]
        if len(set(texts)) < len(texts):
            raise ValueError(f"a category is listed twice in {texts}: give weights, such as {{a: 2, b: 1}}")
        value = dict.fromkeys(texts, 1.0)
    if not isinstance(value, Mapping):
        raise ValueError(
            f"expected categories, [a, b] or {{a: 2, b: 1}}; found {value!r} (parameters stand "
            "beside `draw:`)"
        )
    weights = {category(name): weight for name, weight in value.items()}
    numbers = [weight for weight in weights.values() if isinstance(weight, (int, float))]
    if any(not math.isfinite(weight) or weight < 0 for weight in numbers) or not sum(numbers) > 0:
        raise ValueError(f"weights must be numbers of at least 0, and not all 0; found {weights}")
    # In a fixed order: the canonical request of a step does not preserve the order of a mapping.
    return dict(sorted(weights.items()))


Weights: TypeAlias = Annotated[
    dict[str, float],
    BeforeValidator(_weighted, json_schema_input_type=list[str | float] | dict[str, float]),
]

Digits: TypeAlias = Annotated[int, Field(ge=0, le=12)]


class WholeNumber(Frozen):
    """A whole number between two others, both included, each equally likely."""

    kind: Literal["integer"] = "integer"
    """Name of this distribution."""
    low: int
    """Lowest number."""
    high: int
    """Highest number."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= self.high - self.low < POINTS:
            raise ValueError(f"low {self.low} must not be above high {self.high}")
        return self

    def at(self, point: int) -> int:
        return self.low + point * (self.high - self.low + 1) // POINTS


class UniformNumber(Frozen):
    """A number between two others, each equally likely."""

    kind: Literal["uniform"] = "uniform"
    """Name of this distribution."""
    low: FiniteFloat
    """Lowest number."""
    high: FiniteFloat
    """Highest number."""
    digits: Digits = 2
    """Digits after the point to which it is rounded."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    def at(self, point: int) -> float:
        return round(self.low + (self.high - self.low) * point / POINTS, self.digits)


class NormalNumber(Frozen):
    """A number of a normal distribution, or of its part between two bounds."""

    kind: Literal["normal"] = "normal"
    """Name of this distribution."""
    mean: FiniteFloat
    """Mean of the whole distribution."""
    deviation: Annotated[FiniteFloat, Field(gt=0)]
    """Standard deviation of the whole distribution."""
    low: FiniteFloat | None = None
    """Lowest number. By default any."""
    high: FiniteFloat | None = None
    """Highest number. By default any."""
    digits: Digits = 2
    """Digits after the point to which it is rounded."""

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        begin, end = self._share
        if end - begin < 1e-9:
            raise ValueError(
                f"hardly any number of the distribution is between low {self.low} and high {self.high}"
            )
        return self

    @property
    def _share(self) -> tuple[float, float]:
        """Which share of the distribution is below ``low``, and below ``high``."""
        whole = NormalDist(self.mean, self.deviation)
        begin = 0.0 if self.low is None else whole.cdf(self.low)
        return begin, 1.0 if self.high is None else whole.cdf(self.high)

    def at(self, point: int) -> float:
        begin, end = self._share
        # The middle of the point's interval: neither 0 nor 1, whose numbers are infinite.
        found = NormalDist(self.mean, self.deviation).inv_cdf(begin + (end - begin) * (point + 0.5) / POINTS)
        return round(found, self.digits)


Number: TypeAlias = Annotated[WholeNumber | UniformNumber | NormalNumber, Field(discriminator="kind")]


def _form(value: object) -> str:
    """Return which form is written: the ``kind`` of a number is text, the weight of a category is none."""
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return "number" if isinstance(kind, str) else "categories"


Plain: TypeAlias = Annotated[
    Annotated[Weights, Tag("categories")] | Annotated[Number, Tag("number")], Discriminator(_form)
]


class Depending(Frozen):
    """What the value of another column decides."""

    by: str
    """The other column: one of the rows, or one that is drawn too."""
    cases: Annotated[dict[str, Plain], Field(min_length=1)]
    """Value of the other column -> what is drawn from then: categories, or a number as in `numbers`. Numbers
    of the other column are compared as text."""
    otherwise: Plain | None = None
    """What is drawn from for any other value. By default such a row fails."""

    @model_validator(mode="after")
    def _alike(self) -> Self:
        kinds = sorted({str(type_of(each)) for each in self.each})
        if len(kinds) > 1:
            raise ValueError(f"all cases must draw the same type of value; found {' and '.join(kinds)}")
        return self

    @property
    def each(self) -> list[Any]:
        return [*self.cases.values(), *([] if self.otherwise is None else [self.otherwise])]


def drawing(sampler: Any) -> Callable[[int], str | int | float]:
    """Return what gives the value at a point, of weights or a number."""
    if isinstance(sampler, Frozen):
        at: Callable[[int], int | float] = sampler.at  # type: ignore[attr-defined]
        return at
    values, ends = list(sampler), list(accumulate(sampler.values()))
    return lambda point: values[bisect_right(ends, point / POINTS * ends[-1])]


def type_of(sampler: Any) -> pa.DataType:
    """Return the Arrow type of a column that is drawn from a sampler."""
    import pyarrow as pa

    if isinstance(sampler, Depending):
        return type_of(sampler.each[0])
    if isinstance(sampler, WholeNumber):
        return pa.int64()
    return pa.float64() if isinstance(sampler, (UniformNumber, NormalNumber)) else pa.string()
