"""Near-miss twins: the most similar failing program of the same problem, and the exact differences."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import Filtered, NewRows
from gristmill.datagen.edits.near_misses import closest, differing, tokens
from gristmill.datagen.edits.twins import Twins

RIGHT = "def f(xs):\n    return [x for x in xs if x >= 0]\n"
NEAR = RIGHT.replace(">=", ">")
FAR = "def f(values):\n    while values:\n        values.pop()\n    return None\n"


class Here:
    seed, step = 17, "twins"

    def check(self) -> None: ...

    def progress(self, *figures: object) -> None: ...


def paired(operator: Twins, *rows: dict[str, Any]) -> NewRows:
    numbered = [{"_id": f"r{n}", "prompt": "p", **row} for n, row in enumerate(rows)]
    made = operator.apply(pa.Table.from_pylist(numbered), Here())  # type: ignore[arg-type]
    used = {parent for parents in made.parents for parent in parents}
    assert used | set(made.unused) == {row["_id"] for row in numbered}
    assert not used & set(made.unused)
    return made


def test_a_passing_program_gets_the_failing_one_that_is_most_like_it() -> None:
    made = paired(
        Twins(columns=("level",)),
        {"code": FAR, "passed": False, "level": 1},
        {"code": NEAR, "passed": False, "level": 2},
        {"code": RIGHT, "passed": True, "level": 3},
    )
    [row] = made.rows
    assert made.parents == [["r2", "r1"]]
    assert (row["chosen"], row["rejected"], row["prompt"], row["level"]) == (RIGHT, NEAR, "p", 3)
    assert 0.9 < row["similarity"] < 1
    [rejected] = row["rejected_spans"] or [None]
    assert [RIGHT[span["start"] : span["end"]] for span in row["chosen_spans"]] == ["="]
    assert rejected is None
    assert made.unused == {"r0": Filtered("no_passing_twin")}
    assert made.summary == {"groups": 1, "pairs": 1, "mean_similarity": row["similarity"]}


def test_only_programs_of_the_same_problem_are_twins() -> None:
    made = paired(
        Twins(group=("prompt", "part")),
        {"code": RIGHT, "passed": True, "part": 1},
        {"code": NEAR, "passed": False, "part": 2},
        {"code": NEAR, "passed": False, "part": 1, "prompt": "q"},
    )
    assert made.rows == []
    assert made.unused == {
        "r0": Filtered("no_twin"),
        "r1": Filtered("no_passing_twin"),
        "r2": Filtered("no_passing_twin"),
    }


def test_what_is_too_different_double_long_or_missing_is_left() -> None:
    rows = [
        {"code": RIGHT, "passed": True},
        {"code": FAR, "passed": False},
        {"code": RIGHT.replace(" ", "  ", 1), "passed": True},
        {"code": None, "passed": False},
        {"code": NEAR, "passed": None},
        {"code": "x" * 300, "passed": False},
    ]
    made = paired(Twins(max_chars=200, min_similarity=0.8), *rows)
    rules = {name: left.rule for name, left in made.unused.items() if isinstance(left, Filtered)}
    assert rules == {
        "r0": "no_twin", "r1": "no_passing_twin", "r2": "duplicate", "r3": "null", "r4": "null",
        "r5": "too_long",
    }  # fmt: skip
    assert made.unused["r2"] == Filtered("duplicate", duplicate_of="r0")
    assert made.unused["r0"].score < 0.8  # type: ignore[union-attr]


def test_one_failing_program_can_be_the_twin_of_two() -> None:
    other = RIGHT.replace("xs", "ys")
    made = paired(
        Twins(),
        {"code": RIGHT, "passed": True},
        {"code": other, "passed": True},
        {"code": NEAR, "passed": False},
    )
    assert made.parents == [["r0", "r2"], ["r1", "r2"]]


def test_columns_that_do_not_fit_are_told() -> None:
    with pytest.raises(DataError, match="no column 'prompt'; there are code, passed"):
        Twins().apply(pa.table({"_id": ["a"], "code": ["x"], "passed": [True]}), Here())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'passed' must be true or false"):
        paired(Twins(), {"code": RIGHT, "passed": "yes"})


PROGRAMS = st.lists(
    st.sampled_from(["a", "b1", " ", "\n", "    ", "+", "==", "(", "é", "12.5", "'x'"]), max_size=25
).map("".join)


@given(PROGRAMS, PROGRAMS)
def test_spans_hold_all_that_differs(first: str, second: str) -> None:
    """Outside the spans, both have the same tokens."""
    sides = tokens(first), tokens(second)
    rest = []
    for side, spans in zip(sides, differing(*sides), strict=True):
        outside = [
            text
            for text, (start, end) in zip(side.texts, side.spans, strict=True)
            if not any(low <= start and end <= high for low, high in spans)
        ]
        rest.append(outside)
        assert all(
            low < high <= len(text)
            for (low, high), text in zip(spans, [first + second] * len(spans), strict=True)
        )
    assert rest[0] == rest[1]


@given(PROGRAMS, st.lists(PROGRAMS, min_size=1, max_size=5))
def test_the_closest_is_the_first_of_the_highest_ratio(program: str, others: list[str]) -> None:
    drawn = [tokens(other) for other in others]
    ratios = [
        SequenceMatcher(None, other.texts, tokens(program).texts, autojunk=False).ratio() for other in drawn
    ]
    assert closest(tokens(program), drawn) == (ratios.index(max(ratios)), max(ratios))
