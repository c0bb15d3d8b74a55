"""Columns of every type: read as a plain type with the same values, or refused by name."""

from __future__ import annotations

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import HuggingFaceDataset, Parquet
from gristmill.pipelines.sources.types import plain_type

WORDS = pa.array(["a", None, "b", "a"])
CODED = WORDS.dictionary_encode()
NAME = uuid.UUID(int=7)
DAY = datetime.datetime(2026, 1, 2, 3, 4, 5)

#: A column, and the type that it is read as.
READ: dict[str, tuple[pa.Array, pa.DataType]] = {
    "dictionary": (CODED, pa.string()),
    "dictionaries in lists": (pa.ListArray.from_arrays([0, 1, 3, 3, 4], CODED), pa.list_(pa.string())),
    "dictionaries in structures": (pa.StructArray.from_arrays([CODED], ["d"]),
                                   pa.struct([("d", pa.string())])),
    "dictionary of structures": (
        pa.DictionaryArray.from_arrays(pa.array([0, None, 0, 0], pa.int8()), pa.array([{"a": 1}])),
        pa.struct([("a", pa.int64())]),
    ),
    "runs": (pa.RunEndEncodedArray.from_arrays([1, 4], pa.array(["a", "b"])), pa.string()),
    "views of texts": (WORDS.cast(pa.string_view()), pa.string()),
    "views of bytes": (pa.array([b"a" * 20, None, b"b", b""], pa.binary_view()), pa.binary()),
    "views of lists": (pa.array([["x"], None, ["y", "z"], []], pa.list_view(pa.string())),
                       pa.list_view(pa.string())),
    "large texts": (WORDS.cast(pa.large_string()), pa.large_string()),
    "half floats": (pa.array(np.arange(4, dtype=np.float16)), pa.float16()),
    "short decimals": (pa.array([decimal.Decimal("1.5")] * 4, pa.decimal32(3, 1)), pa.decimal128(3, 1)),
    "long decimals": (pa.array([decimal.Decimal("1.5")] * 4, pa.decimal256(60, 1)), pa.decimal256(60, 1)),
    "zones": (pa.array([DAY] * 4, pa.timestamp("us", "Europe/Berlin")), pa.timestamp("us", "Europe/Berlin")),
    "fixed lists": (pa.array([[1, 2]] * 4, pa.list_(pa.int8(), 2)), pa.list_(pa.int8(), 2)),
    "maps": (pa.array([[("k", 1)], None, [], [("l", None)]], pa.map_(pa.string(), pa.int64())),
             pa.map_(pa.string(), pa.int64())),
    "nulls": (pa.nulls(4), pa.null()),
    "json": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'] * 4)), pa.string()),
    "uuids": (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([NAME.bytes] * 4, pa.binary(16))),
              pa.binary(16)),
    "bytes as booleans": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None, 1], pa.int8())),
                          pa.bool_()),
}  # fmt: skip
STORED = {
    "json": ['{"a": 1}'] * 4,
    "uuids": [NAME.bytes] * 4,
}
NOT_IN_PARQUET = ("dictionary of structures", "runs")


def write(path: Path, column: pa.Array) -> str:
    table = pa.table({"c": column, "n": range(len(column))})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as out:
            out.write_table(table, max_chunksize=3)
    return str(path)


def read(path: str, context: Any, **options: Any) -> pa.Table:
    source = Parquet if path.endswith(".parquet") else HuggingFaceDataset
    return pa.Table.from_batches(list(source(path=path, **options).read(context)))


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
@pytest.mark.parametrize("name", READ)
def test_it_is_read_as_a_plain_type_with_the_same_values(
    tmp_path: Path, context: Any, name: str, ending: str
) -> None:
    if ending == "parquet" and name in NOT_IN_PARQUET:
        pytest.skip("Parquet has no such type")
    column, kind = READ[name]
    table = read(write(tmp_path / f"a.{ending}", column), context)
    assert table["c"].type == kind or plain_type(table["c"].type) == plain_type(kind)
    assert table["c"].to_pylist() == STORED.get(name, column.to_pylist())
    # A part must support the types of a source.
    pq.write_table(table, tmp_path / "part.parquet")
    assert pq.read_table(tmp_path / "part.parquet")["c"].to_pylist() == table["c"].to_pylist()


REFUSED: dict[str, tuple[pa.Array, str]] = {
    "unions": (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1]), pa.array(["a"])]),
               "a union"),
    "intervals": (pa.array([pa.MonthDayNano([1, 2, 3])]), "intervals"),
    "structures without fields": (pa.array([{}], pa.struct([])), "structures without fields"),
    "doubled fields": (pa.StructArray.from_arrays([pa.array([1])] * 2, ["a", "a"]), "two fields of one name"),
    "unknown zones": (pa.array([DAY], pa.timestamp("us", "Nowhere/Land")), "the unknown zone 'Nowhere/Land'"),
    "no bytes": (pa.array([b""], pa.binary(0)), "bytes of length 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("within", [False, True])
def test_what_rows_cannot_hold_is_refused_and_can_be_left_out(
    tmp_path: Path, context: Any, name: str, within: bool
) -> None:
    column, reason = REFUSED[name]
    if within:
        column = pa.ListArray.from_arrays([0, 1], column)
    path = write(tmp_path / "a.arrow", column)
    with pytest.raises(
        DataError, match=rf"a\.arrow: column 'c' holds .*{reason}.*leave it out with `columns:`"
    ):
        read(path, context)
    assert read(path, context, columns=("n",))["n"].to_pylist() == [0]


def test_a_number_that_other_files_would_round_is_named(tmp_path: Path, context: Any) -> None:
    pq.write_table(pa.table({"n": [0.5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": [2**60 + 1]}), tmp_path / "b.parquet")
    with pytest.raises(
        DataError, match=r"b\.parquet: column 'n' holds int64, which cannot be read as double"
    ):
        pa.Table.from_batches(list(Parquet(path=str(tmp_path)).read(context)))


def test_two_columns_of_one_name_are_told(tmp_path: Path, context: Any) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: two columns are called 'a'"):
        list(Parquet(path=str(tmp_path / "a.parquet")).read(context))


def test_several_arrow_files_are_read_under_one_schema(tmp_path: Path, context: Any) -> None:
    for name, column in (("a", pa.array([1], pa.int32())), ("b", pa.array([2], pa.int64()))):
        with pa.ipc.new_file(str(tmp_path / f"{name}.arrow"), pa.schema([("n", column.type)])) as out:
            out.write_table(pa.table({"n": column}))
    table = read(str(tmp_path / "*.arrow"), context)
    assert (table["n"].type, table["n"].to_pylist()) == (pa.int64(), [1, 2])


kinds = st.recursive(
    st.sampled_from([pa.int8(), pa.string(), pa.string_view(), pa.timestamp("ns"), pa.null(), pa.binary(3)]),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.struct([("a", kind), ("b", pa.int8())])),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        inner.map(lambda kind: pa.dictionary(pa.int8(), kind)),
        inner.map(lambda kind: pa.run_end_encoded(pa.int32(), kind)),
    ),
    max_leaves=4,
)


@given(kinds)
def test_a_plain_type_is_plain_throughout(kind: pa.DataType) -> None:
    plain = plain_type(kind)
    assert plain_type(plain) == plain
    assert not {"dictionary", "run_end", "view"} & set(str(plain).replace("<", " ").split())
