"""Columns of every Arrow type in ``keep`` and ``compute``: read, or refused with column and type."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.columns import number_column, text_column
from gristmill.filters.expressions.compute import computed
from gristmill.filters.expressions.condition import evaluate_expression

ONE, TWO = Decimal("1.5"), Decimal("2.5")


def extension(kind: Any, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


#: name -> three values, the second null, and a condition that is true only for the first.
COLUMNS: dict[str, tuple[pa.Array, str]] = {
    "float16": (pa.array([1.0, None, float("nan")], pa.float16()), "x < 2"),
    "float16 list": (pa.array([[1.0], None, [2.0]], pa.list_(pa.float16())), "x[1] < 2"),
    "float16 fixed list": (pa.array([[1.0], None, [2.0]], pa.list_(pa.float16(), 1)), "x[1] < 2"),
    "float16 struct": (pa.array([{"a": 1.0}, None, {"a": 2.0}], pa.struct([("a", pa.float16())])), "x.a < 2"),
    "decimal32": (pa.array([ONE, None, TWO], pa.decimal32(5, 2)), "x < 2"),
    "decimal64": (pa.array([ONE, None, TWO], pa.decimal64(15, 2)), "x < 2"),
    "decimal128": (pa.array([ONE, None, TWO], pa.decimal128(30, 2)), "x < 2"),
    "decimal256": (pa.array([ONE, None, TWO], pa.decimal256(60, 2)), "x < 2"),
    "decimal256 struct": (
        pa.array([{"a": ONE}, None, {"a": TWO}], pa.struct([("a", pa.decimal256(50, 1))])),
        "x.a < 2",
    ),
    "uint64": (pa.array([2**64 - 1, None, 1], pa.uint64()), "x > 1"),
    "dictionary": (pa.array(["a", None, "b"]).dictionary_encode(), "x = 'a'"),
    "dictionary of numbers": (pa.array([1, None, 2]).dictionary_encode(), "x = 1"),
    "list of dictionaries": (
        pa.array([["a"], None, ["b"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        "x[1] = 'a'",
    ),
    "run ends": (
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array([1, None, 2])),
        "x = 1",
    ),
    "map": (pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())), "cardinality(x) = 1"),
    "struct": (pa.array([{"a": 1}, None, {"a": 2}]), "x.a = 1"),
    "string view": (pa.array(["a", None, "b" * 50], pa.string_view()), "x = 'a'"),
    "binary view": (pa.array([b"a", None, b"b" * 50], pa.binary_view()), "octet_length(x) = 1"),
    "large string": (pa.array(["a", None, "b"], pa.large_string()), "x = 'a'"),
    "large binary": (pa.array([b"a", None, b"bb"], pa.large_binary()), "octet_length(x) = 1"),
    "fixed binary": (pa.array([b"ab", None, b"cd"], pa.binary(2)), "x = 'ab'::BLOB"),
    "large list": (pa.array([[1], None, [2]], pa.large_list(pa.int64())), "x[1] = 1"),
    "list view": (pa.array([[1], None, [2]], pa.list_view(pa.int64())), "x[1] = 1"),
    "large list view": (pa.array([[1], None, [2]], pa.large_list_view(pa.int64())), "x[1] = 1"),
    "fixed list": (pa.array([[1, 2], None, [2, 3]], pa.list_(pa.int64(), 2)), "x[1] = 1"),
    "duration": (pa.array([1, None, 2000], pa.duration("ms")), "x < INTERVAL 1 SECOND"),
    "interval": (
        pa.array([(1, 0, 0), None, (9, 0, 0)], pa.month_day_nano_interval()),
        "x < INTERVAL 2 MONTH",
    ),
    "time32": (pa.array([1, None, 2000], pa.time32("ms")), "x < TIME '00:00:01'"),
    "time64": (pa.array([1, None, 2 * 10**9], pa.time64("ns")), "x::TIME < TIME '00:00:01'"),
    "date64": (pa.array([0, None, 86_400_000], pa.date64()), "day(x) = 1"),
    "timestamp": (
        pa.array([1, None, 10**18], pa.timestamp("ns", "Europe/Berlin")),
        "x::TIMESTAMPTZ < TIMESTAMPTZ '1990-01-01'",
    ),
    "bool8": (extension(pa.bool8(), [1, None, 0]), "x = 1"),
    "uuid": (extension(pa.uuid(), [b"a" * 16, None, b"b" * 16]), "octet_length(x) = 16 AND x < 'b'::BLOB"),
    "json": (extension(pa.json_(), ['{"a": 1}', None, "{}"]), "x->>'$.a' = '1'"),
    "opaque": (extension(pa.opaque(pa.int64(), "x", "y"), [1, None, 2]), "x = 1"),
    "tensor": (extension(pa.fixed_shape_tensor(pa.int32(), [2]), [[1, 2], None, [3, 4]]), "x[1] = 1"),
}
REFUSED = {
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["a"])]
    ),
    "sparse union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
    ),
    "wide decimal": pa.array([Decimal(10**50), None, TWO], pa.decimal256(76, 2)),
    "deep decimal": pa.array([None, None, None], pa.decimal256(76, 60)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_type_is_looked_at(name: str) -> None:
    column, condition = COLUMNS[name]
    table = pa.table({"x": column, "n": [1, 2, 3]})
    assert evaluate_expression(table, condition).mask.tolist() == [True, False, False]
    made = computed(table, {"y": f"coalesce({condition}, false)"})
    assert made.errors is None
    assert made.columns["y"].to_pylist()[:2] == [True, False]


@pytest.mark.parametrize("name", [*COLUMNS, *REFUSED])
def test_what_an_expression_does_not_name_is_no_matter_to_it(name: str) -> None:
    column = COLUMNS[name][0] if name in COLUMNS else REFUSED[name]
    table = pa.table({"x": column, "n": [1, 2, 3]})
    assert evaluate_expression(table, "n > 1").mask.tolist() == [False, True, True]
    assert computed(table, {"y": "n + 1"}).columns["y"].to_pylist() == [2, 3, 4]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_looked_at_is_told_with_column_and_type(name: str) -> None:
    table = pa.table({"x": REFUSED[name]})
    for judge in (lambda: evaluate_expression(table, "x IS NOT NULL"), lambda: computed(table, {"y": "x"})):
        with pytest.raises(DataError) as caught:
            judge()
        assert "column 'x' holds" in str(caught.value)
        assert str(table.schema.field("x").type)[:12] in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("INTERVAL 1 DAY", "an interval, which cannot be stored"),
        ("[INTERVAL 1 DAY]", "an interval, which cannot be stored"),
        ("union_value(a := n)", "a union, which cannot be stored"),
        ("{'a': union_value(b := n)}", "a union, which cannot be stored"),
        ("n::BIGNUM", "which cannot be stored: cast it"),
        ("MAP {'a': INTERVAL 1 DAY}", "an interval, which cannot be stored"),
    ],
)
def test_a_value_that_no_file_holds_is_told(expression: str, told: str) -> None:
    with pytest.raises(DataError, match=r"compute, column 'y'") as caught:
        computed(pa.table({"n": [1]}), {"y": expression})
    assert told in str(caught.value)


def test_columns_whose_names_differ_by_case_alone_are_told() -> None:
    table = pa.table({"Score": [1, 2], "score": [3, 4], "n": [1, 2]})
    assert evaluate_expression(table, "n > 1").mask.tolist() == [False, True]
    with pytest.raises(DataError, match="Score"):
        evaluate_expression(table, "score > 3")


def test_numbers_and_texts_of_every_width_are_sorted_by() -> None:
    for kind in (pa.float16(), pa.float32(), pa.decimal128(25, 1), pa.decimal256(50, 1), pa.uint8()):
        table = pa.table({"x": pa.array([1, None, 2], pa.int64()).cast(kind)})
        assert number_column(table, "x", "select").tolist() == [1.0, -np.inf, 2.0]
    encoded = pa.table({"x": pa.array([1, None, 2]).dictionary_encode()})
    assert number_column(encoded, "x", "select").tolist() == [1.0, -np.inf, 2.0]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        assert text_column(pa.table({"x": pa.array(["a", None], kind)}), "x", "dedup").to_pylist() == [
            "a",
            None,
        ]
    with pytest.raises(DataError, match="the column 'x' holds duration"):
        number_column(pa.table({"x": pa.array([1], pa.duration("s"))}), "x", "select")
