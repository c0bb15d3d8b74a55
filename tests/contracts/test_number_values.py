"""Numbers in rows, whatever type they have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gristmill.contracts.number_values import as_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2, 2.0),
        (0.5, 0.5),
        (Decimal("2.50"), 2.5),
        (True, 1.0),
        (None, None),
        ("2", None),
        ([2], None),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("Infinity"), None),
    ],
)
def test_a_number_of_any_type_is_a_float_and_nothing_else_is(value: Any, number: float | None) -> None:
    found = as_number(value)
    assert found == number
    assert found is None or type(found) is float
