"""``RUN/fork.json``: the round of another run that a run begins from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...contracts.durable import kind
from .sealed_json import Shape, read_record, write_record

FILE = "fork.json"
SHAPE: Shape = {"run": str, "round": int, "record": str}


def write_beginning(run: Path, origin: Path, number: int, record: str, without: Sequence[str] = ()) -> None:
    """Record that ``run`` begins after round ``number`` of the run ``origin``. Raises StoreError.

    ``without``: the exports of its rounds that a later one had replaced, and that were not copied.
    """
    said = {"run": str(origin), "round": number, "record": record, "without": list(without)}
    write_record(run / FILE, said)


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


def not_copied(run: Path) -> frozenset[str]:
    """The paths of exports that a later round of the other run had replaced. Raises Damaged."""
    if kind(run / FILE) == "nothing":
        return frozenset()
    return frozenset(read_record(run / FILE, SHAPE).get("without", ()))
