"""``RUN/fork.json``: the round of another run that a run begins from."""

from __future__ import annotations

from pathlib import Path

from ...contracts.durable import kind
from .sealed_json import Shape, read_record, write_record

FILE = "fork.json"
SHAPE: Shape = {"run": str, "round": int, "record": str}


def write_beginning(run: Path, origin: Path, number: int, record: str) -> None:
    """Record that ``run`` begins after round ``number`` of the run ``origin``. Raises StoreError."""
    write_record(run / FILE, {"run": str(origin), "round": number, "record": record})


def begun_after(run: Path) -> int:
    """The number of the round that the run begins from; 0 for a run of its own. Raises Damaged."""
    return 0 if kind(run / FILE) == "nothing" else int(read_record(run / FILE, SHAPE)["round"])


def copied_from(run: Path) -> tuple[str, str]:
    """The run that the first rounds were copied from, and the id of the last copied round's record.

    Both are empty for a run of its own. Raises Damaged.
    """
    if kind(run / FILE) == "nothing":
        return "", ""
    found = read_record(run / FILE, SHAPE)
    return str(found["run"]), str(found["record"])
