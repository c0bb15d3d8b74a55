"""Rows of a training that are held out: its loss is measured on them, and they are not trained on."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...contracts.counting import counted
from ...contracts.errors import DataError
from .unfit import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

_PARENTS = "_parents"


def split(table: pa.Table, size: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the rows to train on and the rows that are held out, both in their order.

    ``size``: the share that is held out, below 1, or a number of rows. ``seed``: of the draw.
    Rows that were made from the same row (samples of a prompt) stay together, so that no row is trained on
    whose sibling is held out. Raises DataError if no row is left for one of the two.
    """
    import numpy as np

    wanted = round(size * table.num_rows) if size < 1 else int(size)
    held = np.zeros(table.num_rows, bool)
    groups = _groups(table)
    random.Random(seed).shuffle(groups)
    for group in groups:
        if len(group) <= wanted:
            held[group] = True
            wanted -= len(group)
    if not held.any() or held.all():
        whom = "trained on" if held.all() else "held out"
        raise DataError(
            f"validation_split: {size:g} of {counted(table.num_rows, 'row')} leaves none that is {whom}: "
            "give another number, or name held-out rows in evaluate_on"
        )
    return table.filter(~held), table.filter(held)


def as_left_out(table: pa.Table) -> list[LeftOut]:
    """Return the rows that are held out as rows that are not trained on."""
    message = "held out to measure the loss (validation_split)"
    return [LeftOut(row, "held out", message) for row in table["_id"].to_pylist()]


def _groups(table: pa.Table) -> list[list[int]]:
    """Return the places of the rows that were made from the same rows; a row without parents is its own."""
    parents: Iterable[list[str] | None] = [None] * table.num_rows
    if _PARENTS in table.column_names:
        parents = table[_PARENTS].to_pylist()
    found: dict[object, list[int]] = {}
    for place, own in enumerate(parents):
        found.setdefault(tuple(own) if own else place, []).append(place)
    return list(found.values())
