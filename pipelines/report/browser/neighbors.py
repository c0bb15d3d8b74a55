"""The rows that others duplicate, to be shown beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..gather import RoundData, Step
from .shape import RowShape
from .texts import TextPool


def neighbors(data: RoundData, step: Step, ids: Iterable[str], texts: TextPool) -> dict[str, dict[str, Any]]:
    """The rows with these ids: ``step`` (where they were found) and ``parts``.

    They are looked for among the rows of the step, then of the other steps, the nearest before it first:
    those of a benchmark are in another branch. Those of an index of an earlier run are not found.
    """
    missing = set(ids)
    found: dict[str, dict[str, Any]] = {}
    before = [each for each in data.before(step) if each is not step][::-1]
    others = [each for each in data.steps if each is not step and each not in before]
    for place in (step, *before, *others):
        if not missing:
            break
        if place.verb in ("train", "export") or not place.ledger.made:
            continue
        shape = RowShape.of(place)
        for row in _rows(place, shape, missing):
            found[row["_id"]] = {"step": place.name, "parts": shape.parts(row, texts)}
        missing -= found.keys()
    return found


def _rows(step: Step, shape: RowShape, ids: set[str]) -> Iterable[dict[str, Any]]:
    """The rows of a step with these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(ids), pa.string())
    for part in step.store.parts():
        here = pc.indices_nonzero(pc.is_in(part.read(["_id"], None)["_id"], wanted))
        if len(here):
            yield from part.read(["_id", *shape.columns], None).take(here).to_pylist()
