"""Rows from Hugging Face data sets: a ``save_to_disk`` directory, an Arrow file, or the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from ..errors import DataError
from ..operator import Estimate, Source
from .columns import final_names, prepared
from .locations import files
from .parquet import fitted, plain

if TYPE_CHECKING:
    import pyarrow as pa

    from ..operator import Context

_BATCH_ROWS = 8192
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HuggingFaceDataset(Source):
    """A data set in Hugging Face's layouts.

    ``path``: a directory that ``Dataset.save_to_disk`` wrote, an ``.arrow`` file, or the id of a data
    set on the Hub (which takes ``subset`` and ``revision``; what was fetched once works offline).
    ``split`` chooses among several. ``rows``, ``rename``, ``columns``: as for files. The token for a
    private data set comes from the environment (``HF_TOKEN``).
    """

    path: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    rows: PositiveInt | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    columns: tuple[str, ...] | None = None

    def content(self) -> Mapping[str, str]:
        folder = self._folder()
        if folder is None and not self._is_arrow_file():
            return {f"{self.path}@{self.revision or 'main'}": self._commit()}
        named = self.path if folder is None else str(folder)
        return {file.name: file.digest() for file in files(named, (".arrow", "state.json"))}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        if self._is_arrow_file():
            schema, batches = _arrow_file(self.path)
        else:
            dataset = self._loaded()
            schema = plain(dataset.features.arrow_schema)
            tables = dataset.with_format("arrow").iter(batch_size=_BATCH_ROWS)
            batches = (batch for table in tables for batch in table.to_batches())
        names = final_names(schema.names, self.rename, self.columns, self.path)
        columns = list(names)
        return prepared((fitted(b, schema, columns) for b in batches), names, self.rows, context)

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=self.rows or 0)

    def _is_arrow_file(self) -> bool:
        return self.path.endswith(".arrow")

    def _folder(self) -> Path | None:
        """The directory of the one data set to read, where ``path`` is local."""
        path = Path(self.path)
        if (path / "dataset_dict.json").is_file():
            splits = sorted(entry.name for entry in path.iterdir() if (entry / "state.json").is_file())
            if self.split not in splits:
                raise DataError(f"{self.path}: no split {self.split!r}; there are {', '.join(splits)}")
            return path / self.split
        if path.is_dir():
            if not (path / "state.json").is_file():
                raise DataError(
                    f"{self.path}: not a directory that Dataset.save_to_disk wrote (no state.json); "
                    "for a directory of Parquet or JSON Lines files use `source: parquet` or `source: jsonl`"
                )
            return path
        if not self._is_arrow_file() and not _HUB_ID.fullmatch(self.path):
            raise DataError(f"{self.path}: no such directory, and not the id of a data set on the Hub")
        return None

    def _loaded(self) -> Any:
        import datasets

        folder = self._folder()
        try:
            if folder is not None:
                return datasets.load_from_disk(str(folder))
            return datasets.load_dataset(self.path, self.subset, split=self.split, revision=self.revision)
        except Exception as error:  # the library raises a dozen unrelated types
            if folder is not None:
                raise DataError(f"{self.path}: cannot be read as a saved data set: {error}") from error
            raise self._unreachable(error) from error

    def _commit(self) -> str:
        """The commit on the Hub that ``revision`` names now; offline, the one fetched last."""
        if self.revision and _COMMIT.fullmatch(self.revision):
            return self.revision
        from huggingface_hub import HfApi
        from huggingface_hub.constants import HF_HUB_CACHE

        try:
            found = HfApi().dataset_info(self.path, revision=self.revision, timeout=10).sha
            return str(found)
        except Exception as error:  # network, gate, name: all end here
            name = f"datasets--{self.path.replace('/', '--')}"
            known = Path(HF_HUB_CACHE) / name / "refs" / (self.revision or "main")
            if known.is_file():
                return known.read_text().strip()
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> DataError:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return DataError(
            f"{self.path}: neither a path here nor a data set that the Hugging Face Hub gives us ({first}). "
            "Check the name, `subset`, `split` and `revision`; for a private one set HF_TOKEN; without a "
            "network, fetch it elsewhere, save it with Dataset.save_to_disk and give that directory as `path`"
        )


def _arrow_file(path: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """An Arrow IPC file or stream, memory-mapped."""
    import pyarrow as pa

    (file,) = files(path, (".arrow",))
    try:
        stored = pa.memory_map(file.path)
        try:
            reader = pa.ipc.open_file(stored)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            stored.seek(0)
            reader = pa.ipc.open_stream(stored)
            batches = iter(reader)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not an Arrow file: {error}") from error
    return plain(reader.schema), batches
