"""``source: documents``: the text and structure of documents, one row each."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b, file_digest
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from ...contracts.errors import DataError, MissingPackage
from ...contracts.operators import FAILURE, Estimate, Source
from ..documents import read_file
from ..documents.read_file import KINDS, PACKED, kind_of
from ..documents.structure import structure_types
from ..execution.limited_processes import CallLimitReached, shared

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Documents that are read before their rows are written: enough for every core.
_BATCH = 64
#: kind -> the module that reads it, of the extra `documents`.
_NEEDS = {"html": "markdownify", "pdf": "pypdfium2", "docx": "mammoth"}
_COLUMNS = ("document", "path", "kind", "title", "text", "headings", "pages")


class Documents(Source):
    """Reads documents: plain text, Markdown, HTML, PDF and Word (DOCX), one row each.

    HTML and Word become Markdown: headings, lists, tables and code stay, and navigation, links and images
    go. Of a PDF the text of its pages is read, without running heads and page numbers, and its outline gives
    the headings. Files that end with `.gz` are unpacked. In a folder, files that end otherwise are not read,
    nor those whose names begin with a dot.

    Each file is read in a process with limits. A file that is damaged, encrypted, empty, scanned or too large
    fails its own row, which says why. HTML, PDF and Word need `pip install 'gristmill[documents]'`.

    Adds:
        document (text): id of the document, from its path and its content.
        path (text): its file.
        kind (text): `text`, `markdown`, `html`, `pdf` or `docx`.
        title (text): its title; null if it has none.
        text (text): its text; Markdown, except of `text` and `pdf`.
        headings (list of records): `start` (its first character), `level` (1 is the highest) and `title` of
            each heading.
        pages (list of int32): the first character of each page of a PDF.

    Example:
        handbook: {source: documents, path: docs/}
    """

    version: ClassVar[int] = 3

    path: str | tuple[str, ...]
    """Documents to read: a file, a folder with all below it, a glob, or a list of them. Relative paths start
    at the current directory; an empty list gives no rows."""
    rows: PositiveInt | None = None
    """Maximum number of documents to read, in the order of their names. By default all are read."""
    max_mib: PositiveInt = 64
    """Maximum size of a file, also of what it unpacks to, in MiB. A larger one fails."""
    seconds: PositiveInt = 120
    """Maximum processor time to read a file, in seconds."""
    memory_mib: PositiveInt = 2048
    """Maximum memory to read a file, in MiB."""

    def files(self) -> list[str]:
        """The files, without repetitions. Raises DataError if a path names none."""
        paths = (self.path,) if isinstance(self.path, str) else self.path
        return list(dict.fromkeys(islice((file for path in paths for file in found(path)), self.rows)))

    def content(self) -> Mapping[str, str]:
        return {path: _digest(path) for path in self.files()}

    def inspect(self) -> None:
        kinds = {kind_of(path) for path in self.files()}
        for kind, module in _NEEDS.items():
            if kind in kinds and find_spec(module) is None:
                raise MissingPackage(
                    f"reading {kind} files needs the package {module}, which is not installed: "
                    "pip install 'gristmill[documents]'"
                )

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=len(self.files()))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return _COLUMNS

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        files = self.files()
        for start in range(0, len(files), _BATCH):
            context.check()
            context.progress(start, len(files), "rows")
            rows = self._rows(files[start : start + _BATCH], context)
            yield pa.RecordBatch.from_pylist(rows, schema=_schema())
        if not files:
            yield pa.RecordBatch.from_pylist([], schema=_schema())

    def _rows(self, files: Sequence[str], context: Context) -> list[dict[str, Any]]:
        module = read_file.__name__
        processes = shared(module, "read", seconds=self.seconds, memory=self.memory_mib << 20)
        # The processes may have been started in another current directory.
        calls = [
            {"path": os.path.abspath(path), "kind": kind_of(path), "most_bytes": self.max_mib << 20}
            for path in files
        ]
        rows = []
        for path, told in zip(files, processes.each(calls), strict=True):
            context.check()
            rows.append(_row(path, told))
        return rows


def found(path: str) -> list[str]:
    """The documents that a path names, by their names. Raises DataError if there are none."""
    place = os.path.expanduser(path)
    if os.path.isfile(place):
        return [place]
    if os.path.isdir(place):
        files = [file for file in _below(place) if kind_of(file) is not None]
    else:
        files = [file for file in glob.glob(place, recursive=True) if os.path.isfile(file)]
    if not files:
        endings = ", ".join(ending for each in KINDS.values() for ending in each)
        raise DataError(
            f"{path}: no documents there (a file, a folder or a glob; in a folder, files that end with "
            f"{endings}, or with {PACKED} after it)"
        )
    return sorted(files)


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in names if not name.startswith("."))


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _row(path: str, told: Mapping[str, Any] | CallLimitReached) -> dict[str, Any]:
    """``told``: what :func:`..documents.read_file.read` returned."""
    shown = path.encode("utf-8", "replace").decode()
    row = {"path": shown, "kind": kind_of(path)}
    if isinstance(told, CallLimitReached):
        return row | {"document": _id(path, ""), FAILURE: f"{shown}: {told.message}"}
    row["document"] = _id(path, told["digest"])
    if "unreadable" in told:
        return row | {FAILURE: f"{shown}: {told['unreadable']}"}
    pages = told["pages"] or None
    return row | {name: told[name] for name in ("title", "text", "headings")} | {"pages": pages}


def _id(path: str, digest: str) -> str:
    return blake2b(f"{path}\0{digest}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, structure = pa.string(), structure_types()
    return pa.schema([*((name, structure.get(name, text)) for name in _COLUMNS), (FAILURE, text)])
