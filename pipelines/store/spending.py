"""What a run has spent: the usage in the footers of its parts, and in ``RUN/dropped.json`` that of the parts
that were dropped, to be made again.

The record is written before the parts are removed, and a run can be killed in between. So it lists the parts
that were dropped last, and each counts as dropped once its file is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ...contracts.durable import kind
from ...contracts.errors import StoreError
from ...contracts.inference import Usage
from .damage import FOLDER, Damaged
from .files import stamp
from .parts import Part, open_part
from .sealed_json import Shape, read_record, write_record

FILE = "dropped.json"
SHAPE: Shape = {"usage": dict, "rows": int, "last": list}


def spent(run: Path) -> tuple[Usage, int]:
    """Tokens used and rows generated so far, over all parts that were ever committed.

    Parts without a readable footer are left out.
    """
    usage, rows = _dropped(run)
    for part in _parts(run):
        usage.add(part.usage)
        rows += part.generated
    return usage, rows


def record_drop(run: Path, parts: Sequence[Part]) -> None:
    """Record what these parts cost, which are about to be removed. Raises StoreError."""
    paid = [part for part in parts if part.usage != Usage()]
    if not paid:
        return
    usage, rows = _dropped(run)
    last = [
        {
            "file": str(part.path.relative_to(run)),
            "stamp": stamp(part.path),
            "usage": asdict(part.usage),
            "rows": part.generated,
        }
        for part in paid
    ]
    write_record(run / FILE, {"usage": asdict(usage), "rows": rows, "last": last})


def _dropped(run: Path) -> tuple[Usage, int]:
    """What the dropped parts cost; nothing if there is no record of it."""
    try:
        said = read_record(run / FILE, SHAPE)
    except Damaged:
        return Usage(), 0
    usage, rows = Usage(**said["usage"]), int(said["rows"])
    for each in said["last"]:
        if stamp(run / each["file"]) != tuple(each["stamp"]):
            usage.add(Usage(**each["usage"]))
            rows += each["rows"]
    return usage, rows


def _parts(run: Path) -> Iterator[Part]:
    """The parts in their places, and those that were set aside, as far as they can be read."""
    for path in (run / "steps").glob("*/part-*.parquet"):
        with suppress(StoreError):
            yield open_part(path)
    aside = run / FOLDER / "steps"
    if kind(aside.parent) != "a folder" or kind(aside) != "a folder":
        return
    for path in aside.glob("*/part-*.parquet*"):
        if kind(path.parent) == "a folder":  # not a link that was set aside
            with suppress(StoreError):
                yield open_part(path, f"{path.name.partition('.')[0]}.parquet")
