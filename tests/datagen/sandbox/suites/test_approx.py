"""``approx`` and ``raises`` of the replacement behave like pytest's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.sandbox.suites import pytest_stand_in as stand_in

near = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**6), 10**6),
    st.sampled_from([0.1 + 0.2, 0.3, 1e-13, 0.0, 1.0000001, 1.0, 1, True, False]),
)
tolerances = st.one_of(st.none(), st.sampled_from([0.0, 1e-9, 1e-3, 0.5]))


@given(near, near, tolerances, tolerances, st.booleans())
def test_numbers(actual: Any, expected: Any, rel: float | None, abs_: float | None, nan_ok: bool) -> None:
    ours = actual == stand_in.approx(expected, rel=rel, abs=abs_, nan_ok=nan_ok)
    assert ours == (actual == pytest.approx(expected, rel=rel, abs=abs_, nan_ok=nan_ok))


@given(st.lists(near, max_size=3), st.lists(near, max_size=3), st.floats(-1e-5, 1e-5))
def test_sequences_mappings_and_arrays(some: list[Any], others: list[Any], off: float) -> None:
    moved = [each + off for each in some]
    for actual, expected in [(some, others), (moved, some), (tuple(moved), some), (5, some)]:
        assert (actual == stand_in.approx(expected)) == (actual == pytest.approx(expected))
    keyed = dict(enumerate(some))
    for mapping in (dict(enumerate(moved)), {}, {"a": 1}):
        assert (mapping == stand_in.approx(keyed)) == (mapping == pytest.approx(keyed))
    array = np.array(some, dtype=float)
    for given_ in (np.array(moved, dtype=float), moved, np.array(others, dtype=float)):
        assert bool(given_ == stand_in.approx(array)) == bool(given_ == pytest.approx(array))


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("a", "a"), ("a", "b"), (None, None), (None, 1), (1, None), (1 + 1e-9j, 1 + 0j),
        (Decimal("1.0000001"), Decimal(1)), (Decimal(1), Decimal(2)), ([], []), ([1], (1,)),
        ({"a": [1]}, {"b": 1}), (float("inf"), float("inf")), (1, "1"),
    ],
)  # fmt: skip
def test_other_values(actual: Any, expected: Any) -> None:
    assert (actual == stand_in.approx(expected)) == (actual == pytest.approx(expected))


def test_what_approx_refuses() -> None:
    with pytest.raises(TypeError, match="no order"):
        stand_in.approx({1, 2})
    with pytest.raises(AssertionError, match=r"compare approx\(\) with =="):
        bool(stand_in.approx(1))
    assert repr(stand_in.approx([1])) == "approx([1])"


class Twofold(KeyError, ValueError): ...


@pytest.mark.parametrize("expected", [ValueError, KeyError, (OSError, ValueError), Exception, OSError])
@pytest.mark.parametrize("match", [None, "no", "^yes$"])
@pytest.mark.parametrize("error", [ValueError("no"), Twofold("yes"), OSError(2, "no file"), None])
def test_raises(expected: Any, match: str | None, error: BaseException | None) -> None:
    def outcome(raises: Any) -> str:
        try:
            with raises(expected, match=match) as info:
                if error is not None:
                    raise error
        except BaseException as failure:
            return "raised" if failure is error else "failed"
        return f"caught {info.type.__name__} {info.value}"

    assert outcome(stand_in.raises) == outcome(pytest.raises)


def test_a_metaclass_has_no_say_in_what_was_raised() -> None:
    class Everything(type):
        def __subclasscheck__(cls, other: type) -> bool:
            return True

    class Wanted(Exception, metaclass=Everything): ...

    with pytest.raises(KeyError), stand_in.raises(Wanted):
        raise KeyError("another")
