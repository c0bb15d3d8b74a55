"""The pieces of a source, each read apart, have the rows, types and errors of the whole source."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError, StoreError
from gristmill.contracts.operators import Source
from gristmill.pipelines.sources import HuggingFaceDataset, Jsonl, Parquet, json_blocks, parquet, row_batches
from gristmill.pipelines.sources.json_lines import LineBlock, blocks_of

ROWS = [{"n": number, "text": f"text {number} " + "x" * (number % 40)} for number in range(400)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_blocks, "BLOCK_BYTES", 700)
    monkeypatch.setattr(row_batches, "BATCH_ROWS", 5)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 90)


def write_jsonl(folder: Path) -> Source:
    for name, rows in (("a", ROWS[:150]), ("b", ROWS[150:])):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n\n" for row in rows))
    return Jsonl(path=str(folder / "*.jsonl"))


def write_compressed(folder: Path) -> Source:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress("".join(f"{json.dumps(r)}\n" for r in ROWS).encode()))
    return Jsonl(path=str(folder))


def write_parquet(folder: Path) -> Source:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table.slice(0, 250), folder / "a.parquet", row_group_size=40)
    pq.write_table(table.slice(250), folder / "b.parquet", row_group_size=110)
    return Parquet(path=str(folder))


def write_arrow(folder: Path) -> Source:
    import datasets

    made = datasets.Dataset.from_list(ROWS)
    made.save_to_disk(str(folder / "saved"), num_shards=3)
    return HuggingFaceDataset(path=str(folder / "saved"))


def pieces(source: Source, context: Any, carry_out: Any = None) -> Sequence[Any]:
    """The pieces, as another process gets them."""
    found = source.pieces(context, carry_out)
    assert found is not None
    return [pickle.loads(pickle.dumps(piece)) for piece in found]


def carried_out(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    return [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(each))())) for each in functions]


@pytest.mark.parametrize(
    ("write", "count"), [(write_jsonl, 20), (write_compressed, 1), (write_parquet, 5), (write_arrow, 3)]
)
@pytest.mark.parametrize("limit", [None, 1, 170, 399])
def test_the_pieces_are_the_rows(
    tmp_path: Path, context: Any, write: Callable[[Path], Source], count: int, limit: int | None
) -> None:
    source = write(tmp_path).model_copy(update={"rows": limit})
    found = pieces(source, context, carried_out)
    parts = [list(piece.read()) for piece in reversed(found)][::-1]
    assert [sum(batch.num_rows for batch in part) for part in parts] == [piece.num_rows for piece in found]
    table = pa.Table.from_batches([batch for part in parts for batch in part])
    assert table.to_pylist() == ROWS[:limit]
    assert table == pa.Table.from_batches(list(source.read(context)))
    assert len(found) >= count if limit is None else len(found) >= 1
    assert all(piece.num_bytes > 0 for piece in found)


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    size=st.integers(1, 40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_line_is_in_the_block_in_which_it_begins(tmp_path: Path, lines: list[bytes], size: int) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join(lines))
    (file,) = Jsonl(path=str(path)).files()
    blocks = blocks_of(file, size)
    assert [line for block in blocks for line in block.lines()] == list(LineBlock(file).lines())
    assert sum(block.stop is not None for block in blocks) == -(-path.stat().st_size // size)


values = st.recursive(
    st.none() | st.booleans() | st.sampled_from([1, 2**60, 0.5, "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.sampled_from("xyz"), values), min_size=1, max_size=12))
def test_types_and_errors_do_not_depend_on_the_blocks(tmp_path: Path, context: Any, rows: list[Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    source = Jsonl(path=str(path))

    def outcome(blocks: int, carry_out: Any) -> Any:
        json_blocks.BLOCK_BYTES = blocks
        try:
            return pa.Table.from_batches(
                [b for piece in source.pieces(context, carry_out) for b in piece.read()]
            )
        except DataError as error:
            return str(error)

    whole = outcome(1 << 20, None)
    assert outcome(24, None) == whole
    assert outcome(24, carried_out) == whole


def test_an_error_names_the_line_in_the_file_whoever_reads_it(tmp_path: Path, context: Any) -> None:
    source = write_jsonl(tmp_path)
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('{"n": "seven"}\n')
    told = r"b\.jsonl:501: column 'n' holds a string here, and a whole number before \(from .*a\.jsonl:1 on\)"
    for carry_out in (None, carried_out):
        with pytest.raises(DataError, match=told):
            source.pieces(context, carry_out)


def test_a_file_that_changed_after_its_pieces_were_found_is_not_read(tmp_path: Path, context: Any) -> None:
    source = write_parquet(tmp_path)
    first, *_, last = pieces(source, context)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
    first.check_here()
    with pytest.raises(StoreError, match=r"b\.parquet changed, or disappeared, while it was read: run again"):
        last.check_here()


def test_a_file_without_the_rows_that_it_claims_is_refused(tmp_path: Path, context: Any) -> None:
    piece = pieces(write_compressed(tmp_path), context)[0]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1, "text": "a"}\n'))
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: holds 1 of the 400 rows that it claims"):
        list(piece.read())
