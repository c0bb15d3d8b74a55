"""Chooses the source for a path: by its ending or, for a directory, by its content."""

from __future__ import annotations

import re
from pathlib import Path

from . import json_array
from .csv_files import Csv
from .jsonl import Jsonl
from .parquet import Parquet

#: source -> the endings of its files.
ENDINGS: dict[str, tuple[str, ...]] = {
    "jsonl": Jsonl.endings,
    "csv": Csv.endings,
    "parquet": Parquet.endings,
    "dataset": (".arrow",),
}
_SAVED = ("state.json", "dataset_dict.json")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def source_of(path: str) -> str | None:
    """The name of the source for a path, glob, URL or Hub id; None if it cannot be determined.

    Reads only the local disk.
    """
    for name, endings in ENDINGS.items():
        if path.endswith(endings):
            return name
    if path.endswith(json_array.ENDINGS):
        return "jsonl"
    folder = Path(path).expanduser()
    if folder.is_dir():
        if any((folder / name).is_file() for name in _SAVED):
            return "dataset"
        return next((name for name, endings in ENDINGS.items() if _holds(folder, endings)), None)
    return "dataset" if _HUB_ID.fullmatch(path) and not folder.exists() else None


def _holds(folder: Path, endings: tuple[str, ...]) -> bool:
    return any(file.name.endswith(endings) for file in folder.rglob("*"))
