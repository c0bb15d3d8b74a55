"""The vectors of texts under an embedding model, stored by content:
``RUN/embeddings/MODEL/chunk-DIGEST.arrow``.

A chunk is an Arrow file of keys (digests of texts) and vectors (float32). It is named after the digest of its
bytes: damage is found, and processes that write at once never write different bytes to one file. A text that
two of them embed is stored twice, and one of the two vectors counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...contracts.durable import kind, remove
from ...contracts.errors import StoreError, first_line
from .damage import Damaged, set_aside
from .files import TEMPORARY, check_folder, disk, make_directory, opened, write_bytes
from .key_index import KEY, KeyIndex, Keys, Places, as_keys
from .seal import digest, file_digest

#: The folder of a run for all embedding models.
FOLDER = "embeddings"
#: The key of a chunk's metadata for the time that it took to make.
_SECONDS = b"seconds"
CHUNK = re.compile(r"chunk-([0-9a-f]{32})\.arrow")


class VectorStore:
    """The stored vectors of one embedding model. Threads and processes may share it.

    A vector has a place: its number over all chunks found so far, from 0. ``dimensions``: those of the
    vectors; None if there are none yet.
    """

    def __init__(self, run: Path, model: str) -> None:
        """``model``: identifies the model and everything else that determines its vectors."""
        self.path = run / FOLDER / model
        self.dimensions: int | None = None
        self._run = run
        self._lock = RLock()
        self._chunks: list[Path] = []
        #: The place of the first vector of each chunk, and that of the next vector.
        self._starts: Places = np.zeros(1, dtype=np.int64)
        self._index = KeyIndex()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def refresh(self) -> None:
        """Find the chunks that were stored since. Every byte of a chunk is checked once.

        Raises Damaged if a chunk is not what was written, StoreError.
        """
        with self._lock:
            known = set(self._chunks)
            for path in chunks(self.path):
                if path not in known:
                    self._know(path, *read_keys(path))

    def find(self, keys: Keys) -> Places:
        """The place of each key's vector, int64 ``(n,)``; -1 if it has none."""
        with self._lock:
            return self._index.find(keys)

    def take(self, places: Places) -> NDArray[np.float32]:
        """The vectors at these places, float32 ``(n, dimensions)``. Raises Damaged if a chunk is gone."""
        vectors = np.empty((len(places), self.dimensions or 0), dtype=np.float32)
        order = np.argsort(places, kind="stable")
        edges = np.searchsorted(places[order], self._starts)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            rows = order[edges[number] : edges[number + 1]]
            path = self._chunks[number]
            with opened(path), pa.memory_map(str(path)) as source:
                held = _vectors(_table(path, source))
                vectors[rows] = held[places[rows] - self._starts[number]]
        return vectors

    def add(self, keys: Keys, vectors: NDArray[np.float32], seconds: float = 0.0) -> None:
        """Commit a chunk, ``vectors`` float32 ``(n, dimensions)``, whole or not at all.

        ``seconds``: the time that it took to make. Raises StoreError.
        """
        data = _chunk_bytes(keys, vectors, seconds)
        path = self.path / f"chunk-{digest(data)}.arrow"
        with disk(self.path, "cannot make"):
            for folder in (self.path.parent, self.path):
                if kind(folder) != "a folder":
                    set_aside(folder, self._run)
                    make_directory(folder)
        write_bytes(path, data, shared=True)
        with self._lock:
            if path not in self._chunks:
                self._know(path, keys, vectors.shape[1])

    def _know(self, path: Path, keys: Keys, dimensions: int) -> None:
        if self.dimensions not in (None, dimensions):
            raise Damaged(
                path, f"its vectors have {dimensions} dimensions, those beside it {self.dimensions}"
            )
        self.dimensions = dimensions
        start = len(self)
        self._chunks.append(path)
        self._starts = np.append(self._starts, start + len(keys))
        self._index.add(keys, np.arange(start, start + len(keys)))


def models(run: Path) -> list[Path]:
    """The folders of a run's embedding models. Raises Damaged if there is something else in their place."""
    check_folder(run / FOLDER)
    if kind(run / FOLDER) == "nothing":
        return []
    with disk(run / FOLDER, "cannot read"):
        return sorted((run / FOLDER).iterdir())


def chunks(model: Path) -> list[Path]:
    """The chunks in the folder of a model, by name. Raises Damaged if it is not a folder."""
    check_folder(model.parent)
    check_folder(model)
    if kind(model) == "nothing":
        return []
    with disk(model, "cannot read"):
        return sorted(path for path in model.iterdir() if CHUNK.fullmatch(path.name))


def read_keys(path: Path) -> tuple[Keys, int]:
    """The keys of a chunk, and the dimensions of its vectors.

    Raises Damaged if it is not what was written, StoreError.
    """
    named = CHUNK.fullmatch(path.name)
    if named is None or file_digest(path) != named[1]:
        raise Damaged(path, "its bytes are not those that were written")
    with pa.memory_map(str(path)) as source:
        table = _table(path, source)
        keys = table["key"].combine_chunks()
        data = keys.buffers()[1].to_pybytes()[: len(keys) * KEY]
        return as_keys(data), table.schema.field("vector").type.list_size


def made(model: Path) -> tuple[int, float]:
    """How many vectors a model's folder holds, and the seconds that they took to make, damaged ones aside.

    Reads no vectors.
    """
    count, seconds = 0, 0.0
    with suppress(StoreError):
        for path in chunks(model):
            with suppress(Damaged), opened(path), pa.memory_map(str(path)) as source:
                table = _table(path, source)
                count += table.num_rows
                seconds += float((table.schema.metadata or {}).get(_SECONDS, 0.0))
    return count, seconds


def damages(run: Path) -> Iterator[Damaged]:
    """The damaged files of all embedding models of a run, each once. Raises StoreError."""
    try:
        folders = models(run)
    except Damaged as damaged:
        yield damaged
        return
    for folder in folders:
        try:
            paths = chunks(folder)
        except Damaged as damaged:
            yield damaged
            continue
        for path in paths:
            try:
                read_keys(path)
            except Damaged as damaged:
                yield damaged


def files(run: Path) -> list[Path]:
    """All files of a run's embedding models, without following links."""
    folder = run / FOLDER
    own = models(run) if kind(folder) == "a folder" else []
    return [path for model in own if kind(model) == "a folder" for path in sorted(model.iterdir())]


def remove_remains(run: Path) -> None:
    """Remove the remains of unfinished writes, before anything writes. Raises StoreError."""
    for path in files(run):
        if path.name.endswith(TEMPORARY):
            with disk(path, "cannot remove"):
                remove(path)


def _chunk_bytes(keys: Keys, vectors: NDArray[np.float32], seconds: float) -> memoryview:
    names = pa.Array.from_buffers(pa.binary(KEY), len(keys), [None, pa.py_buffer(keys.tobytes())])
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"key": names, "vector": values})
    table = table.replace_schema_metadata({_SECONDS: f"{seconds:.6f}"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _table(path: Path, source: Any) -> pa.Table:
    try:
        return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowException) as error:
        raise Damaged(path, first_line(error)) from error


def _vectors(table: pa.Table) -> NDArray[np.float32]:
    column = table["vector"].combine_chunks()
    found: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
    return found
