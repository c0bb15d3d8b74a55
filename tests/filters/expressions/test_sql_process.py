"""Expressions that exceed time or memory end with one clear error and do not affect other rows."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError, GristmillError
from gristmill.filters.expressions.compute import computed
from gristmill.filters.expressions.condition import evaluate_expression
from gristmill.filters.expressions.sql_process import Evaluation, LimitReached, QueryError, QueryLimits

#: Little memory. The time is that of any run: a busy machine may need seconds for what has to work.
SMALL = QueryLimits(memory=256 << 20, value=1 << 20)
#: Little time too, for queries that have to fail.
SHORT = SMALL._replace(seconds=1.0, row_seconds=0.0, part_seconds=1.0)
TABLE = pa.table({"n": [1, 2, 3], "t": ["a", "b", "c"], "x": [[1], [2, 3], []]})


def nothing() -> None:
    return None


HUGE = [
    "repeat('a', 1000000000)",
    "lpad(t, 2000000000, 'x')",
    "len(range(1000000000000))",
    "list_sum(range(100000000000))",
    "len(generate_series(1, 1000000000000))",
    "len([a + n FOR a IN range(3000000000)])",
    "len(repeat(repeat(repeat(t, 10000), 10000), 10000))",
    "len(list_sort(range(2000000000)))",
    "len(regexp_replace(repeat('a', 100000000), '', repeat('b', 1000), 'g'))",
    "len(format('{:>2000000000}', t))",
    "len(printf('%2000000000d', n))",
    "list_sum(list_transform(range(20000), lambda y: list_sum(list_transform(range(20000), lambda z: "
    "y * z))))",
    "len(list_reduce(range(40), lambda a, b: a || a))",
    "len(list_resize([1], 3000000000))",
    "bar(1, 0, 1, 1e9)",
    "len(1e300::DECIMAL(38,0)::VARCHAR)",
]


@pytest.mark.parametrize("expression", HUGE)
def test_what_takes_too_much_ends_in_one_error(expression: str) -> None:
    with Evaluation(TABLE.slice(0, 1), nothing, SMALL) as evaluation:
        with pytest.raises(QueryError) as caught:
            evaluation.query(f"SELECT {expression} AS c FROM rows", seconds=1.0)
        assert "\n" not in str(caught.value)
        assert evaluation.query("SELECT n + 1 AS c FROM rows").column(0).to_pylist() == [2]


@pytest.mark.parametrize("expression", ["len(repeat('a', 1000000000)) > n", "len(range(1000000000000)) > n"])
def test_keep_names_the_expression(expression: str) -> None:
    with pytest.raises(DataError) as caught:
        evaluate_expression(TABLE, expression, limits=SHORT)
    assert str(caught.value).startswith(f"keep: '{expression}' cannot be evaluated")


def test_a_limit_is_told_with_what_it_is() -> None:
    with Evaluation(TABLE, nothing, SMALL) as evaluation:
        with pytest.raises(LimitReached, match=r"more memory than the limit of 0.25 GiB"):
            evaluation.query("SELECT list_sort(range(300000000)) AS c FROM rows")
        slow = "levenshtein(repeat(t, 300000), repeat('z', 300000))"
        with pytest.raises(LimitReached, match=r"longer than the limit of 1 s"):
            evaluation.query(f"SELECT {slow} AS c FROM rows", seconds=1.0)


def test_a_row_that_takes_too_much_costs_itself_alone() -> None:
    table = pa.table({"n": [1, 2, 1_000_000_000, 3, 1 << 21], "t": ["a"] * 5})
    made = computed(table, {"long": "repeat(t, n)", "more": "n + 1"}, limits=SMALL)
    assert made.errors is not None
    assert [error is None for error in made.errors] == [True, True, False, True, False]
    assert made.columns["long"].to_pylist() == ["a", "aa", None, "aaa", None]
    assert made.columns["more"].to_pylist() == [2, 3, None, 4, None]
    assert "the limit per row is 1,048,576" in str(made.errors[4])


def test_keep_fails_a_row_alone_where_no_row_looks_at_others() -> None:
    table = pa.table({"n": [1, 5, 1_000_000_000, 3], "t": ["7", "x", "8", "9"]})
    decision = evaluate_expression(table, "len(repeat(t, n)) > 2 AND t::INT > 1", limits=SMALL)
    assert decision.mask.tolist() == [False, False, False, True]
    assert decision.rules == ["len(repeat(t, n)) > 2", "error", "error", None]
    assert decision.errors is not None
    assert "Could not convert" in str(decision.errors[1])
    assert decision.summary["failed"] == {"len(repeat(t, n)) > 2": 1, "error": 2}
    with pytest.raises(DataError, match="Could not convert"):
        evaluate_expression(table, "t::INT > avg(n) OVER ()", limits=SMALL)


def test_rows_that_fail_are_found_among_many_and_their_number_is_bounded() -> None:
    texts = [str(number) for number in range(3000)]
    for bad in (0, 17, 1499, 2999):
        texts[bad] = "x"
    made = computed(pa.table({"t": texts}), {"n": "t::INT"})
    assert made.errors is not None
    assert [row for row, error in enumerate(made.errors) if error is not None] == [0, 17, 1499, 2999]
    assert made.columns["n"].to_pylist() == [None if t == "x" else int(t) for t in texts]
    with pytest.raises(DataError, match="and so for 20 rows more"):
        computed(pa.table({"t": ["x"] * 100}), {"n": "t::INT"}, limits=QueryLimits(failures=20))


def test_all_rows_of_a_small_table_may_fail() -> None:
    made = computed(pa.table({"t": ["x"]}), {"n": "CAST(t AS INTEGER)"})
    assert made.errors is not None
    assert "Could not convert string 'x'" in str(made.errors[0])
    assert made.columns["n"].type == pa.int32()


class Halt(GristmillError):
    pass


def after(seconds: float) -> Callable[[], None]:
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise Halt("stop")

    return check


def test_a_stop_is_heard_while_a_query_runs() -> None:
    with Evaluation(TABLE, nothing, QueryLimits(seconds=3600)) as evaluation:
        evaluation.query("SELECT n FROM rows")  # a process may take long to start, which is stopped elsewhere
        evaluation._check = after(0.3)
        with pytest.raises(Halt):
            evaluation.query("SELECT levenshtein(repeat(t, 300000), repeat('z', 300000)) FROM rows")


def test_a_process_that_dies_is_replaced_once() -> None:
    with Evaluation(TABLE, nothing) as evaluation:
        assert evaluation.query("SELECT n FROM rows").num_rows == 3
        child: Any = evaluation._child
        os.kill(child.process.pid, signal.SIGKILL)
        assert evaluation.query("SELECT n FROM rows").num_rows == 3

        def kill() -> None:
            os.kill(evaluation._child.process.pid, signal.SIGKILL)  # type: ignore[union-attr]

        evaluation._check = kill
        with pytest.raises(QueryError, match="ended with signal SIGKILL"):
            evaluation.query("SELECT levenshtein(repeat(t, 300000), repeat('z', 300000)) FROM rows")


def test_evaluations_at_once_do_not_mix() -> None:
    found: dict[int, list[int]] = {}

    def one(number: int) -> None:
        table = pa.table({"n": [number] * 100})
        for _ in range(5):
            found.setdefault(number, []).extend(computed(table, {"m": "n * 2"}).columns["m"].to_pylist())

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [2 * number] * 500 for number in range(4)}


def test_local_time_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    moment = pa.table({"t": pa.array([0], pa.timestamp("s", "UTC"))})
    assert computed(moment, {"d": "t::DATE::VARCHAR"}).columns["d"].to_pylist() == ["1970-01-01"]
