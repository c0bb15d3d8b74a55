"""Rows on disk give what the reference in memory gives, whatever the batches, the memory and the parts."""

from __future__ import annotations

import operator
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts import stored_rows
from gristmill.contracts.stored_rows import ROW, StoredRows, TableRows
from gristmill.pipelines.run.whole_table import partitions

KEYS = {
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "string": pa.string(),
    "binary": pa.binary(),
    "fixed": pa.binary(1),
}


def keyed(batch: pa.Table, kind: str) -> pa.Table:
    """Three keys of some type; two rows for each that is long, none for one that is empty."""
    batch = batch.filter(pc.greater(pc.utf8_length(batch["text"]), 0))
    long = batch.filter(pc.greater(pc.utf8_length(batch["text"]), 2))
    both = pa.concat_tables([batch, long])
    text = pc.utf8_length(both["text"]).cast(pa.string())
    key = pa.array([each.encode() for each in text.to_pylist()], KEYS[kind]) if kind == "fixed" else None
    key = text.cast(KEYS[kind]) if key is None else key
    return pa.table({"key": key, ROW: both[ROW]})


def firsts(group: pa.Table) -> pa.Table:
    """The first row of each key, found from the order alone, and the number of its rows."""
    keys, rows = group["key"].to_pylist(), group[ROW].to_numpy()
    new = [index == 0 or keys[index] != keys[index - 1] for index in range(len(keys))]
    starts = np.flatnonzero(new)
    return pa.table(
        {
            "key": group["key"].take(pa.array(starts)),
            "first": pa.array(rows[starts]),
            "rows": pa.array(np.diff([*starts, len(keys)])),
        }
    )


def answer(rows: StoredRows, kind: str) -> tuple[Any, ...]:
    derived = rows.map(partial(keyed, kind=kind), ["text"], name=f"key {kind}")
    grouped = derived.group(firsts, "key", name="firsts").table().to_pydict()
    found = sorted(zip(*(grouped[name] for name in ("key", "first", "rows")), strict=True))
    return (
        found,
        derived.num_rows,
        derived.column_names,
        [b[ROW].to_pylist() for b in derived.batches(["key"])],
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    texts=st.lists(st.text("ab", max_size=4), min_size=1, max_size=60),
    drop=st.integers(2, 9),
    part_rows=st.integers(1, 30),
    batch_rows=st.integers(1, 20),
    partition_rows=st.integers(1, 20),
    memory=st.sampled_from([1, 400, 1 << 30]),
    kind=st.sampled_from(sorted(KEYS)),
)
def test_a_map_and_a_group_on_disk_give_what_they_give_in_memory(
    make_disk, monkeypatch, texts, drop, part_rows, batch_rows, partition_rows, memory, kind
) -> None:
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", batch_rows)
    monkeypatch.setattr(partitions, "PARTITION_ROWS", partition_rows)
    table = pa.table({"text": texts, "drop": [index % drop == 1 for index in range(len(texts))]})
    disk = make_disk(table, part_rows)
    rows = disk.rows(memory)
    reference = TableRows(rows.table())
    assert reference.table(["text"])["text"].to_pylist() == [
        text for text, gone in zip(texts, table["drop"].to_pylist(), strict=True) if not gone
    ]
    want, got = answer(reference, kind), answer(rows, kind)
    assert got[:3] == want[:3]
    assert all(len(batch) <= batch_rows for batch in got[3])
    assert sorted(reduce(operator.iadd, got[3], [])) == sorted(reduce(operator.iadd, want[3], []))
