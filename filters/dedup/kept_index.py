"""An index that is kept between runs: a folder of Parquet files with what survived, and a manifest.

Each run that extends it adds a generation. A step is compared with the generations before its own, so its own
rows are never found again. The manifest is replaced at one instant, once the new file is on disk: a run that
is killed leaves the old index or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from ...contracts import durable
from ...contracts.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "index.json"
_FORMAT = 2
#: Rows of the index in memory at once.
_BLOCK = 1 << 16

#: Name of what a step adds to an index.
IndexName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
AnIndex = TypeVar("AnIndex", bound="KeptIndex")


@dataclass(frozen=True, slots=True)
class Generation:
    """The survivors of one step. ``rows_of``: digest of the ids of its survivors."""

    name: str
    file: str
    rows: int
    sha256: str
    rows_of: str

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Generation:
        """From the manifest. Raises ValueError or TypeError if it is not one."""
        read = cls(**said)
        texts = (read.name, read.file, read.sha256, read.rows_of)
        if not (all(isinstance(each, str) for each in texts) and isinstance(read.rows, int)):
            raise ValueError(f"not a generation: {dict(said)}")
        return read


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """The generations that a step is compared with. ``own``: the step's generation, if it was there."""

    #: The columns of its rows. The first is `_id`.
    columns: ClassVar[tuple[str, ...]]
    #: The step that makes such an index, as a pipeline file writes it.
    kind: ClassVar[str]

    folder: Path
    made_by: Mapping[str, Any]
    name: str | None
    before: tuple[Generation, ...]
    own: Generation | None = field(default=None)

    @classmethod
    def open(cls: type[AnIndex], folder: Path, made_by: Mapping[str, Any], name: str | None) -> AnIndex:
        """Read the manifest.

        ``made_by``: all that the index's rows depend on, the columns that they were made of among them. A
        value that is None is not known yet, and not compared. ``name``: the generation that the step adds;
        what comes after it is ignored.

        Raises DataError if the manifest is damaged or missing, or of other parameters.
        """
        generations = _read_manifest(folder, cls.kind, made_by, may_begin=name is not None)
        names = [each.name for each in generations]
        if name not in names:
            return cls(folder, made_by, name, tuple(generations))
        place = names.index(name)
        return cls(folder, made_by, name, tuple(generations[:place]), generations[place])

    @property
    def digest(self) -> str:
        """A digest of what the step is compared with."""
        return hashlib.sha256(json.dumps([each.sha256 for each in self.before]).encode()).hexdigest()[:32]

    def add(self, rows: Iterable[pa.Table]) -> None:
        """Add rows as the step's generation; do nothing if they are there already. ``rows``: at least one
        table, with ``columns``.

        Raises DataError if the name belongs to other rows, or the index has changed since it was read.
        """
        assert self.name is not None
        ready = self.folder / f".{self.name}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                generation = self._write(ready, rows)
                with _locked(self.folder):
                    self._add(ready, generation)
            finally:
                ready.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot write the index {self.folder}: {error.strerror or first_line(error)}. Make room or "
                "set its permissions and run again, or name another folder in `against`"
            ) from error

    def _add(self, ready: Path, generation: Generation) -> None:
        now = type(self).open(self.folder, self.made_by, self.name)
        if now.before != self.before:
            raise DataError(
                f"the index {self.folder} changed while this step ran: another run extended it. "
                "Run again, and the new rows are compared too."
            )
        if now.own is None:
            durable.flush(ready)
            durable.replace(ready, self.folder / generation.file)
            _write_manifest(self.folder, self.kind, self.made_by, [*now.before, generation])
        elif now.own.rows_of != generation.rows_of:
            raise DataError(
                f"the index {self.folder} has rows named '{self.name}' already, and this step keeps "
                "others. Give `extend` another name, or name another folder in `against`."
            )

    def _write(self, path: Path, tables: Iterable[pa.Table]) -> Generation:
        import pyarrow.parquet as pq

        ids, rows = hashlib.sha256(), 0
        writer = None
        for table in tables:
            mine = table.select(self.columns)
            rows += mine.num_rows
            ids.update("\0".join([*mine.column("_id").to_pylist(), ""]).encode())
            writer = writer or pq.ParquetWriter(path, mine.schema, compression="zstd", use_dictionary=False)
            writer.write_table(mine)
        assert writer is not None
        writer.close()
        digest = _sha256(path)
        return Generation(
            self.name or "", f"{self.name}-{digest[:8]}.parquet", rows, digest, ids.hexdigest()[:32]
        )

    def blocks(self, verify: bool = False) -> Iterator[tuple[int, pa.Table]]:
        """The index's rows in blocks, each with the number of its first."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        first = 0
        for each in self.before:
            path = self.folder / each.file
            try:
                if verify and _sha256(path) != each.sha256:
                    raise _damaged(self.folder, f"{each.file} is not what was written")
                file = pq.ParquetFile(path)
            except (OSError, pa.ArrowInvalid) as error:
                raise _damaged(self.folder, f"{each.file} cannot be read ({error})") from error
            with file:
                for batch in file.iter_batches(_BLOCK, columns=list(self.columns)):
                    yield first, pa.Table.from_batches([batch])
                    first += batch.num_rows


def _read_manifest(
    folder: Path, kind: str, made_by: Mapping[str, Any], *, may_begin: bool
) -> list[Generation]:
    path = folder / MANIFEST
    if folder.exists() and not folder.is_dir():
        raise DataError(f"the index {folder} is not a folder: name another one in `against`")
    if durable.kind(path) == "nothing":
        if may_begin and (durable.kind(folder) == "nothing" or not any(folder.glob("*.parquet"))):
            return []
        raise DataError(
            f"there is no index in {folder}: it has no '{MANIFEST}'. `extend: NAME` begins an index, in a "
            "new or empty folder"
        )
    try:
        content = json.loads(path.read_text())
        form, found = content["format"], dict(content["parameters"])
        generations = [Generation.read(each) for each in content["generations"]]
        found_kind = str(content.get("kind", "dedup: exact" if "keys" in found else "dedup: minhash"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read ({error})") from error
    if form != _FORMAT:
        raise DataError(
            f"the index {folder} has format {form}; this version reads format {_FORMAT}. "
            "Begin another index, in a new folder"
        )
    if found_kind != kind:
        raise DataError(
            f"the index {folder} was made by `{found_kind}`, and this step is `{kind}`: their rows are not "
            "compared in the same way. Name an index of its own kind, or a new folder, in `against`"
        )
    unknown = [name for name, value in made_by.items() if value is None]
    differ = [name for name in {**found, **made_by} if found.get(name) != made_by.get(name)]
    if differ := [name for name in differ if name not in unknown]:
        raise DataError(
            f"the index {folder} was made with {_listed(differ, found)}; this step has "
            f"{_listed(differ, made_by)}. Use the index's columns and parameters, or another folder"
        )
    return generations


def _listed(names: Iterable[str], parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(parameters.get(name))}" for name in names)


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _write_manifest(
    folder: Path, kind: str, made_by: Mapping[str, Any], generations: list[Generation]
) -> None:
    content = {
        "format": _FORMAT,
        "kind": kind,
        "parameters": dict(made_by),
        "generations": [asdict(each) for each in generations],
    }
    ready = folder / f".{MANIFEST}.{os.getpid()}"
    ready.write_text(json.dumps(content, indent=1) + "\n")
    durable.flush(ready)
    durable.replace(ready, folder / MANIFEST)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: runs extend an index one after another."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(
        f"the index {folder} is damaged: {what}. Restore it from a copy, or remove the folder to begin again"
    )
