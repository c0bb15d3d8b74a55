from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.select.vote import Vote

samples = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(["1", "2", "3", None])), max_size=24)


def told(operator: Vote, table: pa.Table, context: Any) -> tuple[Any, dict[str, list[Any]]]:
    result = operator.apply(table, context)
    return result, {name: column.to_pylist() for name, column in result.columns.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples)
def test_the_most_frequent_answer_wins(context: Any, given: list[tuple[str, str | None]]) -> None:
    table = pa.table(
        {
            "_id": pa.array([f"r{n}" for n in range(len(given))], pa.string()),
            "prompt": pa.array([prompt for prompt, _ in given], pa.string()),
            "found": pa.array([found for _, found in given], pa.string()),
        }
    )
    result, columns = told(Vote(), table, context)
    for name in "pq":
        places = [n for n, (prompt, _) in enumerate(given) if prompt == name]
        counted = Counter(given[n][1] for n in places if given[n][1] is not None)
        kept = [n for n in places if result.kept[n]]
        assert len(kept) == bool(counted)
        if counted:
            winner, votes = counted.most_common(1)[0]  # of equals the first
            assert given[kept[0]][1] == winner
            assert kept[0] == next(n for n in places if given[n][1] == winner)
            assert columns["agreement"][kept[0]] == pytest.approx(votes / counted.total())
        for n in places:
            answer = given[n][1]
            assert columns["votes"][n] == (None if answer is None else counted[answer])
            assert columns["majority"][n] == (answer is not None and answer == winner)


def test_weights_and_clusters_decide_as_an_evaluator_says(context: Any, rows: Any) -> None:
    table = rows(
        prompt=["p"] * 6,
        found=["1", "1", "1", "2", "2", "3"],
        score=[0.1, 0.2, 0.1, 0.9, 0.5, 5.0],
    )
    result, columns = told(Vote(weight="score", among=2, by="score"), table, context)
    assert result.kept.tolist() == [False, False, False, True, False, False], "3 is no frequent answer"
    assert columns["agreement"][3] == pytest.approx(1.4 / 6.8)
    assert columns["votes"] == [3, 3, 3, 2, 2, 1]
    alone, _ = told(Vote(weight="score"), table, context)
    assert alone.kept.tolist() == [False] * 5 + [True], "without clusters the one heavy vote wins"
    plain, _ = told(Vote(by="score"), table, context)
    assert plain.kept.tolist() == [False, True] + [False] * 4


def test_all_may_stay_with_what_the_vote_says_of_them(context: Any, rows: Any) -> None:
    table = rows(prompt=["p", "p", "p"], found=[None, 4, 5], score=[1.0, 0.0, None])
    result, columns = told(Vote(take="all", weight="score"), table, context)
    assert result.kept is None
    assert columns == {
        "votes": [None, 1, None],
        "agreement": [None, 1.0, None],
        "majority": [False, True, False],
    }
    assert result.summary == {"groups": 1, "decided": 1, "mean_agreement": 1.0}


def test_negative_weights_are_refused(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match=r"row r1: .*; found -1\.0 in 'score'"):
        Vote(weight="score").apply(rows(prompt=["p"] * 2, found=["1", "2"], score=[1, -1]), context)
