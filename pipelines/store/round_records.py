"""Rounds as data: ``RUN/records/ID.json`` says what a round was made from, what it made, and what it cost.

A record is written once and never changed. Its id is that of its content: the fingerprints of the steps and
the counts of their rows, the decision, the students, and the id of the round before it. A round that runs
again with an edited file, or with failed rows that now succeed, has another record beside the first, so the
records of a run are a tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .damage import Damaged, set_aside
from .files import disk, make_directory
from .seal import digest
from .sealed_json import Shape, read_record, write_record

FOLDER = "records"
#: The names of its files.
NAME = re.compile(r"[0-9a-f]{12}\.json")
SHAPE: Shape = {
    "record": str,
    "round": int,
    "parent": (str, type(None)),
    "steps": dict,
    "models": dict,
    "verdict": dict,
    "carry": dict,
    "budget": dict,
}


def identity(record: Mapping[str, Any]) -> str:
    """The id of a record, 12 hex digits."""
    steps: Mapping[str, Mapping[str, Any]] = record["steps"]
    content = {
        "round": record["round"],
        "parent": record["parent"],
        # Failed rows that are tried again change the counts of a step's rows, and not its fingerprint.
        "steps": {name: [step["fingerprint"], step.get("rows", {})] for name, step in steps.items()},
        "decision": record["verdict"]["decision"],
        "carry": {model: each["digest"] for model, each in record["carry"].items()},
    }
    return digest(json.dumps(content, sort_keys=True).encode())[:12]


def keep(run: Path, record: Mapping[str, Any]) -> str:
    """Write the record of a round unless it is there; return its id. Raises StoreError."""
    name = identity(record)
    path = run / FOLDER / f"{name}.json"
    with suppress(Damaged):
        read_record(path, SHAPE)
        return name
    set_aside(path, run)
    with disk(path.parent, "cannot make"):
        make_directory(path.parent)
    write_record(path, {"record": name, **record})
    return name


def read(run: Path, name: str) -> dict[str, Any]:
    """The record with this id. Raises Damaged."""
    record = read_record(run / FOLDER / f"{name}.json", SHAPE)
    if record["record"] != name or identity(record) != name:
        raise Damaged(run / FOLDER / f"{name}.json", "it is not the record that its name says")
    return record


def files(run: Path) -> list[Path]:
    """The files that bear the name of a record."""
    folder = run / FOLDER
    return [path for path in sorted(folder.iterdir()) if NAME.fullmatch(path.name)] if folder.is_dir() else []


def damages(run: Path) -> Iterator[Damaged]:
    """The damaged records of a run."""
    for path in files(run):
        try:
            read(run, path.stem)
        except Damaged as damaged:
            yield damaged


def records(run: Path) -> list[dict[str, Any]]:
    """All records of a run, by round. Raises Damaged."""
    found = [read(run, path.stem) for path in files(run)]
    return sorted(found, key=lambda record: record["round"])
