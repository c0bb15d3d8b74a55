"""Every kind of mistake is reported in plain words, never in those of pydantic."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, FiniteFloat, PositiveInt, StringConstraints, TypeAdapter, ValidationError, conlist

from gristmill.contracts.counting import counted
from gristmill.contracts.validation import told


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Annotated[int, Field(gt=0)], 0, "must be greater than 0"),
        (Annotated[float, Field(ge=0)], -1, "must be at least 0"),
        (Annotated[float, Field(lt=1.5)], 2, "must be less than 1.5"),
        (Annotated[float, Field(le=1)], 2, "must be at most 1"),
        (Annotated[int, Field(multiple_of=8)], 9, "must be a multiple of 8"),
        (FiniteFloat, float("inf"), "must be a finite number"),
        (PositiveInt, -3, "must be greater than 0"),
        (conlist(int, min_length=1), [], "must have at least 1 entry"),
        (conlist(int, max_length=2), [1, 2, 3], "must have at most 2 entries"),
        (Annotated[dict[str, str], Field(min_length=1)], {}, "must have at least 1 entry"),
        (Annotated[str, StringConstraints(min_length=1)], "", "must have at least 1 character"),
        (Annotated[str, StringConstraints(max_length=3)], "four", "must have at most 3 characters"),
        (Annotated[str, StringConstraints(pattern="^a$")], "b", "must match ^a$"),
        (Literal["a", "b"], "c", "must be 'a' or 'b'"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (bool, "x", "must be true or false"),
        (Decimal, "x", "must be a valid decimal"),
    ],
)
def test_every_kind_of_mistake_is_told_in_plain_words(kind: Any, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert told(caught.value.errors()[0]) == said


def test_numbers_with_their_nouns() -> None:
    assert [counted(number, "row") for number in (0, 1, 2, 1234)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "1,234 rows",
    ]
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(3, "entry", "entries") == "3 entries"
