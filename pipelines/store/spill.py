"""Spill files: sealed Arrow files with intermediate tables of a step, in its scratch folder.

A file says what it was made from (``origin``), so that a step that was stopped goes on with those that are
whole. They are renamed into place but not flushed: after a power cut, the digest tells a damaged one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import xxhash

from ...contracts.durable import kind, remove
from ...contracts.errors import first_line
from .damage import Damaged
from .files import TEMPORARY, Stamp, disk, opened, stamp
from .seal import LENGTH, OPEN

#: The key of the metadata.
FOOTER = b"gristmill"
_SEAL = b'"digest of this file": "'
_MAGIC, _ENDING = b"ARROW1", 10
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Spill:
    """A sealed Arrow file.

    ``origin``: a digest of what it was made from. ``rows``: those of each record batch. ``memory``: bytes of
    its tables in memory. ``digest``: of the whole file.
    """

    path: Path
    origin: str
    rows: tuple[int, ...]
    memory: int
    digest: str
    schema: pa.Schema

    def read(self, first: int, last: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Record batches ``first .. last`` with these columns (None: all).

        The first read of a file checks every byte. Raises Damaged if it is not the file that was written.
        """
        if _checked(self.path, stamp(self.path)).digest != self.digest:
            raise Damaged(self.path, "another file is in its place")
        names = self.schema.names if columns is None else list(columns)
        fields = [self.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(fields), use_threads=False)
        with disk(self.path, "cannot read"), pa.OSFile(str(self.path)) as file:
            reader = pa.ipc.open_file(file, options=options)
            batches = [reader.get_batch(index) for index in range(first, last)]
        schema = pa.schema([self.schema.field(index) for index in sorted(fields)])
        table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches], schema)
        return table.select(names)


def write_spill(path: Path, batches: Sequence[pa.RecordBatch], schema: pa.Schema, origin: str) -> Spill:
    """Write record batches of one schema. Raises StoreError (disk full, read-only)."""
    rows, memory = [batch.num_rows for batch in batches], sum(batch.nbytes for batch in batches)
    said = {"origin": origin, "rows": rows, "memory": memory, "digest of this file": OPEN.decode()}
    schema = schema.remove_metadata()
    sealed = schema.with_metadata({FOOTER: json.dumps(said).encode()})
    temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    with disk(path, "cannot write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with (
                pa.OSFile(str(temporary), "wb") as file,
                pa.ipc.new_file(file, sealed, options=options) as to,
            ):
                for batch in batches:
                    to.write_batch(batch.replace_schema_metadata(sealed.metadata))
            digest = _seal(temporary)
            if kind(path) == "a folder":
                remove(path)
            os.replace(temporary, path)
        except OSError:
            remove(temporary)
            raise
    return Spill(path, origin, tuple(rows), memory, digest, schema)


def open_spill(path: Path) -> Spill:
    """An existing file; every byte is checked. Raises Damaged, StoreError."""
    return _checked(path, stamp(path))


@lru_cache(maxsize=1 << 16)
def _checked(path: Path, seen: Stamp) -> Spill:
    """Check every byte of a file, once for each time that it changes."""
    with opened(path) as handle, disk(path, "cannot read"):
        length = os.fstat(handle).st_size
        at, digest = _place(path, handle, length)
        if _digest(handle, length, at) != digest:
            raise Damaged(path, "its bytes are not those that were written")
    try:
        with pa.OSFile(str(path)) as file:
            schema = pa.ipc.open_file(file).schema
        said = json.loads(schema.metadata[FOOTER])
        rows, memory = tuple(int(each) for each in said["rows"]), int(said["memory"])
        return Spill(path, str(said["origin"]), rows, memory, digest, schema.remove_metadata())
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise Damaged(path, first_line(error)) from error


def _seal(path: Path) -> str:
    """Write the digest of a file into its footer; return it."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        length = os.fstat(handle).st_size
        at, _ = _place(path, handle, length)
        digest = _digest(handle, length, at)
        os.pwrite(handle, digest.encode(), at)
    finally:
        os.close(handle)
    return digest


def _place(path: Path, handle: int, length: int) -> tuple[int, str]:
    """Where the footer holds the digest of the file, and what it says. Raises Damaged."""
    ending = os.pread(handle, _ENDING, max(0, length - _ENDING))
    if ending[-len(_MAGIC) :] != _MAGIC:
        raise Damaged(path, "it is empty" if not length else "its end is missing")
    size = int.from_bytes(ending[:4], "little") + _ENDING
    if not _ENDING < size <= length:
        raise Damaged(path, "its footer is not what was written")
    footer = os.pread(handle, size, length - size)
    found = footer.rfind(_SEAL)
    if found < 0:
        raise Damaged(path, "it carries no digest")
    found += len(_SEAL)
    return length - size + found, footer[found : found + LENGTH].decode(errors="replace")


def _digest(handle: int, length: int, at: int) -> str:
    """The digest of a file, with ``OPEN`` in the place ``at`` of its digest."""
    whole = xxhash.xxh3_128()
    for start, stop in ((0, at), (at + LENGTH, length)):
        while start < stop and (block := os.pread(handle, min(_BLOCK, stop - start), start)):
            whole.update(block)
            start += len(block)
        if stop == at:
            whole.update(OPEN)
    return whole.hexdigest()
