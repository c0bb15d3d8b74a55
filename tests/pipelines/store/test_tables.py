"""A sealed Parquet file: any changed byte is detected, and the footer alone identifies the rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipelines.store.damage import Damaged
from gristmill.pipelines.store.tables import open_sealed, read_sealed_table, write_sealed

TABLE = pa.table(
    {
        "_id": [f"{n:020x}" for n in range(12)],
        "text": [f"row {n} " * (n % 7) for n in range(12)],
        "tags": [[n] for n in range(12)],
    }
)


def test_no_byte_changes_unseen(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_sealed(path, TABLE, {"basis": "b"})
    data = path.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read_sealed_table(path)


def test_a_changed_footer_shows_without_reading_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_sealed(path, TABLE, {"basis": "b"})
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(start, len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            open_sealed(path)


def test_the_footer_names_the_rows(tmp_path: Path) -> None:
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    written = write_sealed(one, TABLE, {"usage": 1})
    write_sealed(other, TABLE, {"usage": 2})
    assert open_sealed(one) == written
    assert open_sealed(one).rows == open_sealed(other).rows
    assert open_sealed(one).digest != open_sealed(other).digest
    write_sealed(other, TABLE.slice(1), {"usage": 1})
    assert open_sealed(one).rows != open_sealed(other).rows
    with pytest.raises(Damaged, match="another file is in its place"):
        read_sealed_table(other, expected=written.digest)


def test_other_tools_read_it(tmp_path: Path) -> None:
    write_sealed(tmp_path / "rows.parquet", TABLE, {})
    assert pq.read_table(tmp_path / "rows.parquet")["text"].to_pylist() == TABLE["text"].to_pylist()


def test_columns_that_are_not_there_are_left_out_and_a_long_footer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    wide = pa.table({f"column {number}": [1] for number in range(2000)})
    write_sealed(path, wide, {})
    assert open_sealed(path).schema.names == wide.column_names
    assert read_sealed_table(path, ["column 7", "none"])[1].column_names == ["column 7"]


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1" * 3, bytes(500), b"\xff" * 500, b"x" * 4 + b"\x00" * 4 + b"PAR1"]
)
def test_what_is_no_parquet_file_is_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(data)
    with pytest.raises(Damaged):
        open_sealed(path)
    with pytest.raises(Damaged):
        read_sealed_table(path)


def test_parquet_without_a_seal_is_damage(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    with pytest.raises(Damaged, match="its footer is not what was written"):
        open_sealed(tmp_path / "rows.parquet")
