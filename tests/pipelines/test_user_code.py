"""A user's own functions as steps: called according to their types; one bad row fails only itself."""

from __future__ import annotations

import asyncio
import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts import registry
from gristmill.contracts.errors import DataError
from gristmill.contracts.operators import Map, TableMap
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.pipelines.user_code import UserMake, UserMap, UserSource, UserTableMap

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"user_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    return write


def step(reference: str, **parameters: Any) -> Any:
    found = registry.find("map", reference)
    assert found is not None
    return found(map=reference, **parameters)


def outcomes(operator: Map, context: Any, rows: list[dict[str, Any]]) -> list[list[Any]]:
    return asyncio.run(operator.open(context)(rows))


ROWS: list[dict[str, Any]] = [{"_id": f"r{n}", "n": n} for n in range(4)]


def test_each_row_has_its_own_fate(module: Callable[[str], str], context: Any) -> None:
    name = module("""
        def judge(row: dict, limit: int = 9) -> dict | None:
            if row["n"] == 1:
                return None
            row["n"] += limit
            if row["n"] > 11:
                raise ValueError("too large")
            return row
    """)
    operator = step(f"{name}:judge", args={"limit": 10})
    assert type(operator) is UserMap
    found = outcomes(operator, context, ROWS)
    assert found == [
        [Kept({"n": 10})],
        [Filtered("map: returned None")],
        [Failed("ValueError: too large")],
        [Failed("ValueError: too large")],
    ]
    assert [row["n"] for row in ROWS] == [0, 1, 2, 3]
    assert not operator.makes_rows


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[{'a': 1}]", "-> list\\[dict\\]"),
        ("{'_id': 'other'}", "'_id'"),
        ("{1: 2}", "key 1"),
        ("'text'", "a str, not a dict"),
    ],
)
def test_answers_that_are_no_row_fail(
    module: Callable[[str], str], context: Any, body: str, told: str
) -> None:
    name = module(f"def f(row):\n    return {body}\n")
    ((outcome,), *_) = outcomes(step(f"{name}:f"), context, ROWS)
    assert isinstance(outcome, Failed)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(outcome.error)


@pytest.mark.parametrize("returns", ["list[dict]", "Iterator[dict]", "'list[Unknown]'"])
def test_a_function_of_many_makes_rows(module: Callable[[str], str], context: Any, returns: str) -> None:
    name = module(f"""
        from collections.abc import Iterator
        def repeat(row: dict) -> {returns}:
            return iter([{{"copy": i}} for i in range(row["n"])])
    """)
    operator = step(f"{name}:repeat")
    assert type(operator) is UserMake
    assert operator.makes_rows
    found = outcomes(operator, context, ROWS)
    assert found[0] == [Filtered("map: made no rows")]
    assert found[3] == [Kept({"copy": 0}), Kept({"copy": 1}), Kept({"copy": 2})]


def test_async_functions_run_together_up_to_a_limit(module: Callable[[str], str], context: Any) -> None:
    name = module("""
        import asyncio
        running = most = 0
        async def wait(row: dict) -> dict:
            global running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            if row["n"] == 2:
                raise KeyError("n")
            return {"most": most}
    """)
    rows = [{"_id": str(n), "n": n} for n in range(20)]
    found = outcomes(step(f"{name}:wait", concurrency=5), context, rows)
    assert found[2] == [Failed("KeyError: 'n'")]
    assert max(o.row["most"] for (o,) in found if isinstance(o, Kept)) == 5


def test_table_functions(module: Callable[[str], str], context: Any) -> None:
    name = module("""
        import pyarrow as pa
        import pyarrow.compute as pc
        def twice(table: pa.Table) -> pa.Table:
            return table.append_column("m", pc.multiply(table["n"], 2)).drop_columns("n")
        def even(table: pa.Table) -> pa.ChunkedArray:
            return pc.equal(pc.bit_wise_and(table["n"], 1), 0)
        def tripled(batch: pa.RecordBatch) -> pa.Array:
            return pc.multiply(batch["n"], 3)
        def shuffled(table: pa.Table) -> pa.Table:
            return table.take(pa.array([1, 0, 2, 3]))
        def shorter(table: pa.Table) -> pa.Table:
            return table.slice(1)
        def failing(table: pa.Table) -> pa.Table:
            return table["missing"]
        def unsure(table: pa.Table) -> pa.Array:
            return pa.array([True, None, False, True])
    """)
    table = pa.Table.from_pylist(ROWS)

    def verdicts(function: str) -> Any:
        operator = step(f"{name}:{function}")
        assert type(operator) is UserTableMap
        assert isinstance(operator, TableMap)
        return operator.open(context)(table)

    assert {key: column.to_pylist() for key, column in verdicts("twice").columns.items()} == {
        "m": [0, 2, 4, 6]
    }
    assert verdicts("even").kept.tolist() == [True, False, True, False]
    assert verdicts("even").rule == "map: returned false"
    assert verdicts("tripled").columns["tripled"].to_pylist() == [0, 3, 6, 9]
    assert verdicts("unsure").errors == [None, "unsure returned null", None, None]
    assert verdicts("failing").errors[0].error.startswith("KeyError")
    with pytest.raises(DataError, match="changed the column '_id'"):
        verdicts("shuffled")
    with pytest.raises(DataError, match="returned 3 rows for 4"):
        verdicts("shorter")


def test_a_million_rows_pass_a_table_function_in_no_time(
    module: Callable[[str], str], context: Any, cpu_seconds: Callable[..., float]
) -> None:
    name = module("import pyarrow as pa\ndef same(table: pa.Table) -> pa.Table:\n    return table\n")
    count = 1_000_000
    table = pa.table({"_id": pa.array(range(count)).cast(pa.string()), "x": pa.array(range(count))})
    judge = step(f"{name}:same").open(context)

    def pass_all() -> None:
        for first in range(0, count, UserTableMap.batch_rows):
            assert judge(table.slice(first, UserTableMap.batch_rows)).columns == {}

    assert cpu_seconds(pass_all) < 1


def test_the_digest_follows_the_source(module: Callable[[str], str], tmp_path: Path) -> None:
    name = module("def f(row):\n    return {}\n")
    operator = step(f"{name}:f")
    before = operator.content()
    (tmp_path / f"{name}.py").write_text("def f(row):\n    return {'changed': True}\n")
    assert operator.content() != before


def test_a_missing_function_gets_the_nearest_name(module: Callable[[str], str]) -> None:
    name = module("def judge(row):\n    return {}\n")
    with pytest.raises(DataError, match="did you mean 'judge'"):
        registry.find("map", f"{name}:jugde")


def rows_of(source: UserSource, context: Any) -> pa.Table:
    return pa.Table.from_batches(list(source.read(context)))


def test_a_source_of_dicts_and_of_tables(module: Callable[[str], str], context: Any) -> None:
    name = module("""
        import pyarrow as pa
        def dicts(count):
            for n in range(count):
                yield {"n": n, "tags": [] if n % 2 else ["x"], "any": {"a": n} if n else {"b": 1}}
        def tables():
            for n in range(3):
                yield pa.table({"n": [n, n]})
        def mixed():
            yield {"n": 1}
            yield {"n": "x"}
        def changing():
            yield pa.table({"n": [1]})
            yield pa.table({"n": ["x"]})
        def failing():
            yield {"n": 1}
            raise RuntimeError("no more")
        def reserved():
            yield {"_n": 1}
        def nothing():
            return []
    """)
    assert registry.find("source", f"{name}:dicts") is UserSource
    table = rows_of(UserSource(source=f"{name}:dicts", args={"count": 5}, rows=4), context)
    assert table["n"].to_pylist() == [0, 1, 2, 3]
    assert table["any"].to_pylist()[:2] == ['{"b": 1}', '{"a": 1}']
    assert rows_of(UserSource(source=f"{name}:tables", rows=5), context)["n"].to_pylist() == [0, 0, 1, 1, 2]
    assert list(UserSource(source=f"{name}:nothing").read(context)) == []
    for function, told in (
        ("mixed", "row 1: column 'n' holds a string here"),
        ("changing", r"item 1 has the columns n \(string\); those before had n \(int64\)"),
        ("failing", "after 1 items: RuntimeError: no more"),
        ("reserved", "'_n'"),
        ("dicts", "TypeError"),
    ):
        with pytest.raises(DataError, match=told):
            rows_of(UserSource(source=f"{name}:{function}"), context)


def test_nested_values_of_a_source_that_differ_are_json_text(
    module: Callable[[str], str], context: Any
) -> None:
    name = module("""
        from datetime import date, datetime
        from decimal import Decimal
        def dated():
            yield {"m": {"d": date(2024, 5, 1)}}
            yield {"m": {"d": datetime(2024, 5, 1, 12), "e": Decimal("0.5")}}
        def called(raw):
            value = b"x" if raw else date(2024, 5, 1)
            call = {"function": {"name": "f", "arguments": {"on": value}}}
            yield {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
        def mixed_keys():
            yield {"m": {"a": 1}}
            yield {"m": {1: "x", "b": 2}}
        def number_keys():
            yield {"m": [{1: "x"}]}
        def keyed_turn():
            yield {"m": [{"role": "user", "content": "q", 3: "x"}]}
        def raw():
            yield {"m": {"a": 1}}
            yield {"m": {"a": b"x", "b": 1}}
    """)
    dated = rows_of(UserSource(source=f"{name}:dated"), context)
    assert dated["m"].to_pylist() == ['{"d": "2024-05-01"}', '{"d": "2024-05-01T12:00:00", "e": 0.5}']
    [[turn]] = rows_of(UserSource(source=f"{name}:called", args={"raw": False}), context)[
        "messages"
    ].to_pylist()
    assert turn["tool_calls"][0]["function"]["arguments"] == '{"on": "2024-05-01"}'
    for function, args, told in (
        ("called", {"raw": True}, "row 0: column 'messages' holds bytes: write it as a string"),
        ("mixed_keys", {}, "row 1: column 'm' holds an object with the key 1, which is no string"),
        ("number_keys", {}, "row 0: column 'm' holds an object with the key 1, which is no string"),
        ("keyed_turn", {}, "row 0: column 'm' holds an object with the key 3, which is no string"),
        ("raw", {}, "row 1: column 'm' is JSON text, .* has bytes, which JSON cannot hold"),
    ):
        with pytest.raises(DataError, match=told):
            rows_of(UserSource(source=f"{name}:{function}", args=args), context)


def test_another_package_adds_an_operator_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "tiny_operators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-operators\nVersion: 1.0\n")
    (tmp_path / "tiny_operators.py").write_text(
        "from gristmill.contracts.operators import Map\n"
        "class Shout(Map):\n"
        "    loudness: int = 1\n"
        "    def open(self, context):\n"
        "        async def shout(rows):\n"
        "            return [[row] for row in rows]\n"
        "        return shout\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (info / "entry_points.txt").write_text("[gristmill.operators]\ngenerate.shout = tiny_operators:Shout\n")
    registry.added.cache_clear()
    try:
        found = registry.find("generate", "shout")
        assert found is not None
        assert found(loudness=3).model_dump() == {"loudness": 3}
        assert "shout" in registry.names("generate")
        assert {"respond", "template"} <= set(registry.names("generate"))
    finally:
        registry.added.cache_clear()
        sys.modules.pop("tiny_operators", None)
