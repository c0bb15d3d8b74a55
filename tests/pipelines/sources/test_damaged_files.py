"""Truncated or changed files: one clear error, whatever the format, and never a crash."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import HuggingFaceDataset, Parquet

HERE = Path(__file__).parent
WRITERS: dict[str, Callable[..., Any]] = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}


def read(source: HuggingFaceDataset | Parquet, context: Any) -> pa.Table:
    return pa.Table.from_batches(list(source.read(context)))


def write_arrow(path: Path, table: pa.Table, form: str = "file", rows: int | None = None) -> Path:
    with WRITERS[form](str(path), table.schema) as out:
        out.write_table(table, max_chunksize=rows)
    return path


def saved(folder: Path, table: pa.Table, form: str = "stream") -> Path:
    """The files of ``Dataset.save_to_disk`` that are read."""
    folder.mkdir()
    write_arrow(folder / "data.arrow", table, form)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    return folder


def texts_with_offsets(*offsets: int) -> pa.Array:
    """A string array over 12 bytes with these offsets, which Arrow writes without a check."""
    data = [pa.py_buffer(pa.array(offsets, pa.int32()).buffers()[1]), pa.py_buffer(b"abcdefghijkl")]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, *data])


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("offsets", [(0, 20, 12), (0, 2**30, 12), (0, -5, 12)])
def test_an_offset_out_of_bounds_is_named(
    tmp_path: Path, context: Any, form: str, offsets: tuple[int, ...]
) -> None:
    table = pa.table({"n": [1, 2], "text": texts_with_offsets(*offsets)})
    path = write_arrow(tmp_path / "a.arrow", table, form)
    with pytest.raises(DataError, match=r"a\.arrow: rows 1 to 2: column 'text' is damaged .*fetch it again"):
        read(HuggingFaceDataset(path=str(path)), context)
    # A column that is not requested is not checked.
    assert read(HuggingFaceDataset(path=str(path), columns=("n",)), context)["n"].to_pylist() == [1, 2]
    folder = saved(tmp_path / "set", table)
    with pytest.raises(DataError, match=r"data\.arrow: rows 1 to 2: column 'text' is damaged"):
        read(HuggingFaceDataset(path=str(folder)), context)


def test_offsets_within_lists_and_structures_are_looked_through(tmp_path: Path, context: Any) -> None:
    inner = texts_with_offsets(0, 2**30, 12)
    for number, column in enumerate(
        [
            pa.ListArray.from_arrays([0, 2], inner),
            pa.StructArray.from_arrays([inner], ["t"]),
            pa.ListArray.from_arrays(pa.array([0, 2**20, 2], pa.int32()), pa.array([1, 2])),
            pa.DictionaryArray.from_arrays(pa.array([0, 7]), pa.array(["a"]), safe=False),
        ]
    ):
        path = write_arrow(tmp_path / f"{number}.arrow", pa.table({"c": column}))
        with pytest.raises(DataError, match=rf"{number}\.arrow: .*column 'c' is damaged"):
            read(HuggingFaceDataset(path=str(path)), context)


def test_bytes_that_are_no_text_are_named_with_their_rows(tmp_path: Path, context: Any) -> None:
    good = pa.array(["fine"] * 3)
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")]
    )
    table = pa.table({"t": pa.chunked_array([good, bad])})
    path = write_arrow(tmp_path / "a.arrow", table)
    with pytest.raises(DataError, match=r"a\.arrow: rows 4 to 4: column 't' is damaged \(.*UTF8"):
        read(HuggingFaceDataset(path=str(path)), context)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    with pytest.raises(DataError, match=r"a\.parquet: rows 4 to 4: column 't' is damaged \(.*UTF8"):
        read(Parquet(path=str(tmp_path / "a.parquet")), context)


@pytest.mark.parametrize("form", WRITERS)
def test_every_cut_is_told(tmp_path: Path, context: Any, form: str) -> None:
    whole = write_arrow(tmp_path / "a.arrow", pa.table({"t": ["a text"] * 40, "n": range(40)}), form, rows=10)
    data = whole.read_bytes()
    for end in range(0, len(data) - 8, 97):
        whole.write_bytes(data[:end])
        if form == "stream":
            try:  # a stream may end after any batch
                assert read(HuggingFaceDataset(path=str(whole)), context).num_rows % 10 == 0
            except DataError as error:
                assert "a.arrow: not an Arrow file, or a damaged one" in str(error)  # noqa: PT017
        else:
            with pytest.raises(DataError, match=r"a\.arrow: not an Arrow file, or a damaged one"):
                read(HuggingFaceDataset(path=str(whole)), context)


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_is_cut_while_it_is_read_does_not_end_the_process(
    tmp_path: Path, context: Any, form: str
) -> None:
    table = pa.table({"t": ["a text of some length"] * 100_000})
    path = write_arrow(tmp_path / "a.arrow", table, form, rows=10_000)
    batches = HuggingFaceDataset(path=str(path)).read(context)
    assert next(batches).num_rows == 10_000
    os.truncate(path, 500)
    with pytest.raises(DataError, match=r"a\.arrow: not an Arrow file, or a damaged one"):
        list(batches)


def test_a_page_whose_checksum_differs_is_told(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"n": range(1000)})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    place = data.index((500).to_bytes(8, "little"))
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: not a Parquet file, or a damaged one \(.*[Cc][Rr][Cc]"):
        read(Parquet(path=str(path)), context)


NUMBERS: list[tuple[int, pa.DataType]] = [
    (2**62, pa.timestamp("s")),
    (-(2**62), pa.timestamp("us", "Europe/Berlin")),
    (253_402_300_799, pa.timestamp("s", "+14:00")),
    (2**30, pa.date32()),
    (86_400_000 * 2**30, pa.date64()),
    (86_400_000_000, pa.time64("us")),
    (-1, pa.time32("s")),
    (2**62, pa.duration("s")),
]


@pytest.mark.parametrize(("number", "kind"), NUMBERS, ids=str)
@pytest.mark.parametrize("within", ["", "list", "struct", "map"])
def test_a_date_or_time_that_python_does_not_have_is_named(
    tmp_path: Path, context: Any, number: int, kind: pa.DataType, within: str
) -> None:
    column = pa.array([None, 0, number], pa.int64() if kind.bit_width == 64 else pa.int32()).view(kind)
    if within == "list":
        column = pa.ListArray.from_arrays([0, 1, 3], column)
    elif within == "struct":
        column = pa.StructArray.from_arrays([column], ["when"])
    elif within == "map":
        column = pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["a", "b", "c"]), column)
    path = write_arrow(tmp_path / "a.arrow", pa.table({"when": column}))
    with pytest.raises(
        DataError, match=rf"a\.arrow: rows 1 to \d: column 'when' (holds|is damaged).* {number}"
    ):
        read(HuggingFaceDataset(path=str(path)), context)


def test_the_first_and_the_last_day_are_dates(tmp_path: Path, context: Any) -> None:
    days = [datetime.date(1, 1, 2), None, datetime.date(9999, 12, 30)]
    hours = [datetime.time(0, 0), None, datetime.time(23, 59, 59, 999_999)]
    path = write_arrow(tmp_path / "a.arrow", pa.table({"day": days, "hour": hours}))
    assert read(HuggingFaceDataset(path=str(path)), context).to_pydict() == {"day": days, "hour": hours}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", r"state\.json: not what Dataset\.save_to_disk writes"),
        ('{"_data_files": 3}', r"state\.json: not what Dataset\.save_to_disk writes"),
        ("[" * 100_000, r"state\.json: not what Dataset\.save_to_disk writes"),
        ('{"_data_files": [{"filename": "../a.arrow"}]}', r"state\.json: names the file '\.\./a\.arrow'"),
        ('{"_data_files": [{"filename": "other.arrow"}]}', r"names 'other\.arrow', which is not there"),
        ('{"_data_files": []}', r"dataset_info\.json: not what Dataset\.save_to_disk writes"),
    ],
)
def test_a_saved_data_set_with_a_damaged_description_is_named(
    tmp_path: Path, context: Any, state: str, message: str
) -> None:
    folder = saved(tmp_path / "set", pa.table({"n": [1]}))
    (folder / "state.json").write_text(state)
    with pytest.raises(DataError, match=message):
        read(HuggingFaceDataset(path=str(folder)), context)


def test_a_pipe_is_no_file(tmp_path: Path, context: Any) -> None:
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: not a file but a folder, pipe, socket or device"):
        Parquet(path=str(tmp_path / "a.parquet")).content()


def test_damaged_files_of_every_kind_never_end_the_process() -> None:
    """A sample of benchmarks/mutated_files.py, in a separate process."""
    command = [sys.executable, "-P", str(HERE / "reading_damaged.py"), "350"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    read_well, refused = map(int, done.stdout.split())
    assert read_well + refused == 350
    assert read_well >= 12
    assert refused >= 200
