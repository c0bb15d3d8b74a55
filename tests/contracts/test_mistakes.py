from __future__ import annotations

import pytest

from gristmill.contracts.errors import DataError, GristmillError
from gristmill.contracts.mistakes import Collected, Mistakes, at, single


def _refuse(*names: str) -> None:
    with at("outer"), Collected() as found:
        for name in names:
            with found.at("columns", name):
                raise DataError(f"no {name}")


def _interrupted() -> None:
    with Collected() as found:
        found.add(GristmillError("told later"))
        raise ZeroDivisionError


def test_all_errors_are_raised_together_each_once_and_with_its_place() -> None:
    with pytest.raises(Mistakes) as caught:
        _refuse("a", "b", "a")
    assert [(error.place, error.message) for error in single(caught.value)] == [
        (("outer", "columns", "a"), "no a"),
        (("outer", "columns", "b"), "no b"),
    ]
    assert str(caught.value) == "no a\nno b"


def test_one_error_is_raised_as_it_is_and_others_end_at_once() -> None:
    with pytest.raises(DataError, match="no a") as caught:
        _refuse("a")
    assert not isinstance(caught.value, Mistakes)
    assert single(caught.value) == [caught.value]
    _refuse()
    with pytest.raises(ZeroDivisionError):
        _interrupted()
