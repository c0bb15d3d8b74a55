"""The data of the row browser: steps with their groups, and a sample of the rows of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from ....contracts.printable import shown
from ..gather import RunData, Step
from ..samples import because
from .groups import ROWS, Group, distinct, groups, sample, shares
from .neighbors import neighbors
from .reading import rows_at
from .shape import RowShape
from .texts import TextPool


def browser_data(run: RunData) -> dict[str, Any] | None:
    """What the page's script reads; None if no step has rows.

    ``texts``: see :class:`TextPool`. ``steps``: ``key`` (its folder), ``name``, ``label``, ``round``,
    ``command`` and ``groups``, each with ``fate``, ``why``, ``rows`` (all) and ``embedded``. ``rows``:
    ``id``, ``step`` and ``group`` (their numbers), ``why``, ``like`` (the id of the row that it duplicates)
    and ``parts``. ``others``: the rows that are duplicated, by id. ``start``: the step to show first.
    """
    steps = [(number, step, found) for number, step in distinct(run.rounds) if (found := groups(step))]
    if not steps:
        return None
    taken = iter(shares([rows for _, _, found in steps for rows in found.values()], ROWS))
    texts = TextPool()
    rows: list[dict[str, Any]] = []
    others: dict[str, dict[str, Any]] = {}
    told: list[dict[str, Any]] = []
    by_number = {data.number: data for data in run.rounds}
    for place, (number, step, found) in enumerate(steps):
        wanted = dict(zip(found, taken))
        chosen = list(_rows(step, place, wanted, texts))
        like = {row["like"] for row in chosen if "like" in row}
        others |= neighbors(by_number[number], step, like - others.keys(), texts)
        rows += chosen
        told.append(_step(run, number, step, found, wanted))
    return {
        "steps": told,
        "rows": rows,
        "others": others,
        "texts": texts.embedded(),
        "start": _start(run, [(number, step) for number, step, _ in steps]),
    }


def _step(
    run: RunData, number: int, step: Step, found: Mapping[Group, int], wanted: Mapping[Group, int]
) -> dict[str, Any]:
    return {
        "key": step.store.path.name,
        "name": step.name,
        "label": step.label,
        "round": number,
        "command": f"gristmill rows {quote(str(run.directory.path))} {step.name}"
        + (f"@{number}" if len(run.rounds) > 1 else ""),
        "groups": [
            {"fate": fate, "why": shown(why), "rows": rows, "embedded": wanted[fate, why]}
            for (fate, why), rows in found.items()
        ],
    }


def _start(run: RunData, steps: Sequence[tuple[int, Step]]) -> int:
    """The number of the step with the final data set, else of the last step."""
    last = run.last
    outcome = last.data if last else None
    names = [step.store.path.name for _, step in steps]
    if outcome is not None and outcome.store.path.name in names:
        return names.index(outcome.store.path.name)
    return len(names) - 1


def _rows(step: Step, number: int, wanted: Mapping[Group, int], texts: TextPool) -> Iterator[dict[str, Any]]:
    """The chosen rows of a step, in their order."""
    shape = RowShape.of(step)
    numbers = {group: place for place, group in enumerate(wanted)}
    chosen = {place: numbers[group] for group, places in sample(step, wanted).items() for place in places}
    for place, row in rows_at(step, chosen, shape.columns):
        yield _row(row, number, chosen[place], shape, texts)


def _row(row: Mapping[str, Any], step: int, group: int, shape: RowShape, texts: TextPool) -> dict[str, Any]:
    reason = row["_reason"] or {}
    made: dict[str, Any] = {"id": row["_id"], "step": step, "group": group, "parts": shape.parts(row, texts)}
    if reason:
        made["why"] = texts.add(because(reason))
    if reason.get("duplicate_of"):
        made["like"] = reason["duplicate_of"]
    return made
