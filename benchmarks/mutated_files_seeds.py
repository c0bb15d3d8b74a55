"""The files that ``mutated_files.py`` damages: every input format, with every kind of column."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 60
_SOME = range(ROWS)
_DAY = datetime.datetime(2026, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Seed:
    """An undamaged file.

    ``kind``: the format. ``source``: the source that reads it. ``path``: the path for the source, a file or a
    folder. ``files``: the files that may be damaged. ``as_lines``: whether its values can be written as JSON.
    """

    kind: str
    name: str
    source: str
    path: Path
    files: tuple[Path, ...]
    as_lines: bool


def tables() -> dict[str, pa.Table]:
    """Return small tables by family of types; together they have every Arrow type."""
    words = pa.array([f"text {n} äß" if n % 7 else None for n in _SOME])
    coded = pa.array([f"value {n % 5}" for n in _SOME]).dictionary_encode()
    return {
        "numbers": pa.table(
            {
                "small": pa.array([n % 100 for n in _SOME], pa.int8()),
                "large": pa.array([n * 10**12 if n % 5 else None for n in _SOME], pa.uint64()),
                "half": pa.array(np.arange(ROWS, dtype=np.float16)),
                "real": pa.array([n / 3 for n in _SOME]),
                "flag": pa.array([n % 2 == 0 for n in _SOME]),
                "nothing": pa.nulls(ROWS),
            }
        ),
        "texts": pa.table(
            {
                "prompt": words,
                "long": words.cast(pa.large_string()),
                "view": pa.array([f"a text of more than twelve bytes {n}" for n in _SOME], pa.string_view()),
                "bytes": pa.array([bytes([n, 255]) for n in _SOME]),
                "bytes_view": pa.array([bytes([n, 255]) * 9 for n in _SOME], pa.binary_view()),
                "fixed": pa.array([bytes([n] * 4) for n in _SOME], pa.binary(4)),
            }
        ),
        "times": pa.table(
            {
                "day": pa.array([_DAY.date()] * ROWS, pa.date32()),
                "day64": pa.array([_DAY.date()] * ROWS, pa.date64()),
                "clock": pa.array([_DAY.time()] * ROWS, pa.time64("us")),
                "clock32": pa.array([_DAY.time()] * ROWS, pa.time32("ms")),
                "seconds": pa.array([_DAY] * ROWS, pa.timestamp("s")),
                "nanos": pa.array([_DAY] * ROWS, pa.timestamp("ns")),
                "zone": pa.array([_DAY] * ROWS, pa.timestamp("us", "Europe/Berlin")),
                "lasting": pa.array([datetime.timedelta(seconds=n) for n in _SOME], pa.duration("ms")),
            }
        ),
        "decimals": pa.table(
            {
                f"d{kind.bit_width}": pa.array([decimal.Decimal(n) / 4 for n in _SOME], kind)
                for kind in (
                    pa.decimal32(6, 2),
                    pa.decimal64(12, 2),
                    pa.decimal128(30, 2),
                    pa.decimal256(60, 2),
                )
            }
        ),
        "nested": pa.table(
            {
                "list": pa.array([list(range(n % 4)) if n % 6 else None for n in _SOME]),
                "large_list": pa.array([["x"] * (n % 4) for n in _SOME], pa.large_list(pa.string())),
                "fixed_list": pa.array([[n, n, n] for n in _SOME], pa.list_(pa.float32(), 3)),
                "messages": pa.array([[{"role": "user", "content": f"q {n}"}] for n in _SOME]),
                "deep": pa.array([{"a": [{"b": [n], "c": {"d": str(n)}}]} if n % 3 else None for n in _SOME]),
                "map": pa.array([[("k", n), ("l", None)] for n in _SOME], pa.map_(pa.string(), pa.int64())),
            }
        ),
        "coded": pa.table({"coded": coded, "codes": pa.ListArray.from_arrays(list(range(ROWS + 1)), coded)}),
        "extensions": pa.table(
            {
                "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'] * ROWS)),
                "uuid": pa.ExtensionArray.from_storage(
                    pa.uuid(), pa.array([bytes(16)] * ROWS, pa.binary(16))
                ),
                "opaque": pa.ExtensionArray.from_storage(
                    pa.opaque(pa.int64(), "kind", "maker"), pa.array(_SOME)
                ),
            }
        ),
    }


def arrow_only() -> dict[str, pa.Table]:
    """Return tables with types that Parquet lacks."""
    numbers = pa.array(_SOME)
    texts = pa.array([str(n) for n in _SOME])
    kinds = pa.array([n % 2 for n in _SOME], pa.int8())
    places = pa.array([n // 2 for n in _SOME], pa.int32())
    return {
        "unions": pa.table(
            {
                "sparse": pa.UnionArray.from_sparse(kinds, [numbers, texts]),
                "dense": pa.UnionArray.from_dense(kinds, places, [numbers, texts]),
            }
        ),
        "views": pa.table(
            {
                "list_view": pa.array([["x"] * (n % 4) for n in _SOME], pa.list_view(pa.string())),
                "large_list_view": pa.array([[n] * (n % 4) for n in _SOME], pa.large_list_view(pa.int32())),
            }
        ),
        "runs": pa.table({"runs": pa.RunEndEncodedArray.from_arrays([20, ROWS], pa.array(["a", "b"]))}),
        "odd": pa.table(
            {
                "interval": pa.array([pa.MonthDayNano([1, 2, 3])] * ROWS),
                "empty": pa.array([{}] * ROWS, pa.struct([])),
                "records": pa.DictionaryArray.from_arrays(
                    pa.array([0] * ROWS, pa.int8()), pa.array([{"a": 1}])
                ),
            }
        ),
    }


def seeds(folder: Path) -> list[Seed]:
    """Write all seeds below ``folder``."""
    return [*_parquet(folder), *_arrow(folder), *_lines(folder), *_saved(folder)]


#: How Parquet files are written: name -> options of ``pq.write_table``.
_PARQUET: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none", "use_dictionary": False},
    "dictionary": {"compression": "none", "data_page_version": "2.0", "write_page_index": True},
    "snappy": {"compression": "snappy", "write_page_checksum": True},
    "zstd": {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 25},
    "gzip": {"compression": "gzip"},
    "lz4": {"compression": "lz4", "data_page_size": 64},
    "brotli": {"compression": "brotli"},
}
#: Encodings of single columns, which need a type that has them.
_ENCODED: dict[str, tuple[pa.DataType, str]] = {
    "delta_numbers": (pa.int64(), "DELTA_BINARY_PACKED"),
    "split": (pa.float64(), "BYTE_STREAM_SPLIT"),
    "delta_lengths": (pa.string(), "DELTA_LENGTH_BYTE_ARRAY"),
    "delta_texts": (pa.string(), "DELTA_BYTE_ARRAY"),
    "rle": (pa.bool_(), "RLE"),
}


#: Tables of which JSON has all types.
_JSON = ("numbers", "nested", "coded", "views", "runs", *_ENCODED)


def _one(kind: str, name: str, source: str, path: Path) -> Seed:
    return Seed(kind, name, source, path, (path,), source == "jsonl" or name.startswith(_JSON))


def _parquet(folder: Path) -> Iterator[Seed]:
    for table_name, table in tables().items():
        for name, options in _PARQUET.items():
            path = folder / f"{table_name}-{name}.parquet"
            pq.write_table(table, path, **options)
            yield _one("parquet", path.stem, "parquet", path)
    for name, (kind, encoding) in _ENCODED.items():
        path = folder / f"{name}.parquet"
        column = pa.array([n % 3 for n in _SOME]).cast(kind)
        pq.write_table(
            pa.table({"c": column}),
            path,
            use_dictionary=False,
            column_encoding={"c": encoding},
            data_page_version="2.0" if encoding == "RLE" else "1.0",
        )
        yield _one("parquet", name, "parquet", path)


def _arrow(folder: Path) -> Iterator[Seed]:
    forms: dict[str, Callable[..., Any]] = {"arrow file": pa.ipc.new_file, "arrow stream": pa.ipc.new_stream}
    for kind, writer in forms.items():
        for table_name, table in {**tables(), **arrow_only()}.items():
            for packed in (None, "lz4", "zstd"):
                path = folder / f"{table_name}-{kind.split()[1]}-{packed or 'plain'}.arrow"
                with writer(
                    str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression=packed)
                ) as out:
                    out.write_table(table, max_chunksize=25)
                yield _one(kind, path.stem, "dataset", path)


def _lines(folder: Path) -> Iterator[Seed]:
    rows = [
        {
            "prompt": f'question {n} äß " \\ \n \u2028',
            "n": n,
            "score": n / 7 if n % 2 else None,
            "ok": n % 2 == 0,
            "messages": [{"role": "user", "content": str(n)}],
            "more": {"tags": ["a"] * (n % 3), "deep": {"x": None, "y": [1.5, -2e300]}},
        }
        for n in _SOME
    ]
    for name, ascii_only in (("text", False), ("escaped", True)):
        data = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()
        for ending, packed in (
            ("jsonl", data),
            ("jsonl.gz", gzip.compress(data, mtime=0)),
            ("jsonl.zst", None),
        ):
            path = folder / f"{name}.{ending}"
            if packed is None:
                with pa.CompressedOutputStream(str(path), "zstd") as out:
                    out.write(data)
            else:
                path.write_bytes(packed)
            yield _one(ending, name, "jsonl", path)


def _saved(folder: Path) -> Iterator[Seed]:
    import datasets

    datasets.disable_progress_bars()
    chosen = {
        "numbers": tables()["numbers"].select(["small", "large", "real", "flag"]),
        "texts": tables()["texts"].select(["prompt", "long", "bytes"]),
        "nested": tables()["nested"].select(["list", "large_list", "messages", "deep"]),
    }
    for name, table in chosen.items():
        path = folder / f"saved-{name}"
        datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(str(path))
        files = tuple(sorted(file for file in path.iterdir() if file.is_file()))
        yield Seed("datasets folder", name, "dataset", path, files, name in _JSON)
