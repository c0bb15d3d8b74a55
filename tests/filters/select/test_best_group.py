from __future__ import annotations

from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.select.best_group import SelectBestGroup

STEP = SelectBestGroup(group=("teacher",), by="reward")


def test_the_group_with_the_highest_mean_is_kept(context: Any, rows: Any) -> None:
    # The best row and the highest sum belong to `a`, the highest mean to `b`.
    table = rows(teacher=["a", "b", "a", "a", "b", "c"], reward=[0.9, 0.6, 0.1, 0.4, 0.7, None])
    result = STEP.apply(table, context)
    assert result.kept.tolist() == [False, True, False, False, True, False]
    assert result.score.tolist()[:2] == [pytest.approx(1.4 / 3), pytest.approx(0.65)]
    assert result.summary["groups"] == [
        {"teacher": "a", "rows": 3, "value": pytest.approx(1.4 / 3)},
        {"teacher": "b", "rows": 2, "value": pytest.approx(0.65)},
        {"teacher": "c", "rows": 1, "value": None},
    ]


def test_rows_without_a_number_stay_with_their_group_and_do_not_count(context: Any, rows: Any) -> None:
    result = STEP.apply(rows(teacher=["a", "b", "b"], reward=[0.5, 0.6, None]), context)
    assert result.kept.tolist() == [False, True, True]


def test_of_equals_the_first_wins(context: Any, rows: Any) -> None:
    assert STEP.apply(rows(teacher=["b", "a"], reward=[1.0, 1.0]), context).kept.tolist() == [True, False]


def test_text_to_rank_by_is_one_clear_error(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="needs numbers; the column 'reward'"):
        STEP.apply(rows(teacher=["a"], reward=["x"]), context)


def test_a_teacher_whose_answers_the_student_finds_unlikely_is_worth_less(context: Any, rows: Any) -> None:
    """CAR: the larger model's answers have the higher reward, but a much higher loss."""
    table = rows(teacher=["large", "large", "small"], reward=[3.0, 1.0, 1.5], loss=[2.0, 4.0, 0.5])
    step = SelectBestGroup(group=("teacher",), by="reward", penalty="loss")
    result = step.apply(table, context)
    assert result.kept.tolist() == [False, False, True]
    assert result.score.tolist() == pytest.approx([2 / (1 + 3 * 3)] * 2 + [1.5 / (1 + 3 * 0.5)])
    alone = SelectBestGroup(group=("teacher",), by="reward").apply(table, context)
    assert alone.kept.tolist() == [True, True, False]


def test_a_negative_mean_is_refused_where_a_penalty_would_raise_it(context: Any, rows: Any) -> None:
    table = rows(teacher=["a", "b"], reward=[-2.0, 1.0], loss=[2.0, 0.5])
    step = SelectBestGroup(group=("teacher",), by="reward", penalty="loss")
    with pytest.raises(
        DataError, match=r"mean of 'reward' is -2\. Rescale it .* 1 / \(1 \+ exp\(-reward\)\)"
    ):
        step.apply(table, context)
    assert SelectBestGroup(group=("teacher",), by="reward").apply(table, context).kept.tolist() == [
        False,
        True,
    ]
    with pytest.raises(DataError, match=r"mean of 'loss' is -1"):
        step.apply(rows(teacher=["a"], reward=[1.0], loss=[-1.0]), context)


def test_no_rows_make_no_group(context: Any, rows: Any) -> None:
    result = SelectBestGroup(group=("teacher",), by="reward").apply(rows(teacher=[], reward=[]), context)
    assert result.summary == {"groups": []}
