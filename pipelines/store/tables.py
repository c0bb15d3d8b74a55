"""Parquet files with digests of their rows and of their footer, which contains the digest of the rows.

Reading the footer alone verifies which file it is and identifies its rows; reading the rows verifies every
byte of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ...contracts.errors import StoreError, first_line
from .damage import Damaged
from .files import Stamp, disk, opened, read_bytes, size, stamp, write_bytes
from .seal import LENGTH, OPEN, broken, digest, seal

#: The key of the footer for the metadata about the rows.
FOOTER = b"gristmill"
_ROWS, _SEAL = b'"rows digest": "', b'"digest of this file": "'
_MAGIC, _ENDING = b"PAR1", 8
#: Most footers are shorter than this, so that one read fetches them.
_TAIL = 1 << 16
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed Parquet file.

    ``said``: the metadata of its rows. ``rows``: the digest of their bytes. ``digest``: that of the footer,
    which identifies the whole file. ``schema``: the columns. ``memory``: bytes of the rows in memory, about.
    """

    said: Mapping[str, Any]
    rows: str
    digest: str
    bytes: int
    schema: pa.Schema
    memory: int


def write_sealed(path: Path, table: pa.Table, said: Mapping[str, Any], **options: Any) -> Sealed:
    """Commit a table. The bytes depend only on the arguments. ``options``: those of pyarrow.

    Raises StoreError.
    """
    sink, written = pa.BufferOutputStream(), list[pq.FileMetaData]()
    # No statistics: nothing filters such a file by ranges of values.
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        write_statistics=False,
        metadata_collector=written,
        **options,
    ) as writer:
        writer.write_table(table)
        footer = {**said, "rows digest": OPEN.decode(), "digest of this file": OPEN.decode()}
        writer.add_key_value_metadata({FOOTER: json.dumps(footer, sort_keys=True, default=str).encode()})
    data = bytearray(sink.getvalue())
    start = len(data) - _ENDING - int.from_bytes(data[-8:-4], "little")
    rows, end = digest(memoryview(data)[:start]), data[start:]
    at = end.rindex(_ROWS + OPEN) + len(_ROWS)
    end[at : at + LENGTH] = rows.encode()
    made = seal(end, _SEAL)
    data[start:] = end
    write_bytes(path, data)
    return Sealed(said, rows, made, len(data), table.schema, _memory(written[0]))


def open_sealed(path: Path) -> Sealed:
    """Read and check the footer only. Raises Damaged if it differs from what was written, StoreError."""
    length = size(path)
    tail = read_bytes(path, max(0, length - _TAIL), length)
    wanted = _footer_bytes(path, tail, length)
    if wanted > len(tail):
        tail = read_bytes(path, length - wanted, length)
    return _sealed(path, tail[-wanted:], length)


def read_sealed_table(
    path: Path, columns: Sequence[str] | None = None, expected: str | None = None
) -> tuple[Sealed, pa.Table]:
    """The file's rows; every byte is checked.

    ``columns``: those to read, if they exist. ``expected``: the digest that the file must have. Raises
    Damaged, StoreError.
    """
    data = read_bytes(path)
    end = len(data) - _footer_bytes(path, data, len(data))
    sealed = _sealed(path, data[end:], len(data))
    if expected not in (None, sealed.digest):
        raise Damaged(path, "another file is in its place")
    if digest(memoryview(data)[:end]) != sealed.rows:
        raise Damaged(path, "its rows are not those that were written")
    wanted = None if columns is None else [name for name in columns if name in sealed.schema.names]
    try:
        return sealed, pq.read_table(pa.BufferReader(data), columns=wanted, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise Damaged(path, first_line(error)) from error


def check_sealed(path: Path, expected: str) -> None:
    """Check every byte of a file, once in this process while it does not change, with little memory.

    ``expected``: the digest that the file must have. Raises Damaged, StoreError.
    """
    _check_bytes(path, expected, stamp(path))


@lru_cache(maxsize=1 << 16)
def _check_bytes(path: Path, expected: str, seen: Stamp) -> None:
    sealed = open_sealed(path)
    if sealed.digest != expected:
        # The file is valid, so this is not damage: a running run has just made it again.
        raise StoreError(f"{path} was replaced while it was read: try again")
    ending = read_bytes(path, max(0, sealed.bytes - _ENDING), sealed.bytes)
    left = sealed.bytes - _footer_bytes(path, ending, sealed.bytes)
    whole = xxhash.xxh3_128()
    with opened(path) as handle, disk(path, "cannot read"):
        while left > 0 and (block := os.read(handle, min(_BLOCK, left))):
            whole.update(block)
            left -= len(block)
    if whole.hexdigest() != sealed.rows:
        raise Damaged(path, "its rows are not those that were written")


def _footer_bytes(path: Path, tail: bytes, length: int) -> int:
    """The number of bytes from the start of the footer to the end of the file.

    Raises Damaged if the file does not end like a Parquet file.
    """
    if not length:
        raise Damaged(path, "it is empty")
    if tail[-4:] != _MAGIC:
        raise Damaged(path, "its end is missing" if tail.strip(b"\0") else "it ends in zeros")
    wanted = int.from_bytes(tail[-8:-4], "little") + _ENDING
    if not _ENDING < wanted <= length:
        raise Damaged(path, "its footer is not what was written")
    return wanted


def _sealed(path: Path, footer: bytes, length: int) -> Sealed:
    if broken(footer, _SEAL) is not None:
        raise Damaged(path, "its footer is not what was written")
    try:
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
        said = json.loads(metadata.metadata[FOOTER])
        rows, made = said.pop("rows digest"), said.pop("digest of this file")
        schema = metadata.schema.to_arrow_schema()
        return Sealed(said, rows, made, length, schema, _memory(metadata))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise Damaged(path, first_line(error)) from error


def _memory(metadata: pq.FileMetaData) -> int:
    """Without dictionaries, encoded values take about as many bytes as in memory."""
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
