"""The rows of a step by what became of them and why, and a fair sample of each group."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..gather import ASIDE, RoundData, Step, reason_of
from .reading import RowPlace, rank

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum number of rows that a report embeds.
ROWS = 2_000
#: Maximum number of reasons of a step and fate that have a group of their own.
REASONS = 12
OTHERS = "other reasons"
#: The groups of an evaluation's items, by the sign of the gain.
GAINS = ("better", "worse", "no difference")

#: What became of a row, and why; the reason is empty if there is nothing to say.
Group = tuple[str, str]


def groups(step: Step) -> dict[Group, int]:
    """The groups of a step's rows with their sizes; failed and filtered ones by their most frequent reasons.

    A ``train`` or ``export`` step has none: its rows are those of the step before.
    """
    if step.verb in ASIDE and step.verb != "evaluate":
        return {}
    kept: Counter[str] = Counter()
    if step.ledger.kept:
        for gain, rows in _gains(step) if "gain" in step.columns and step.verb == "evaluate" else ():
            kept[gain] += rows
        kept = kept or Counter({"": step.ledger.kept})
    found = {("kept", gain): rows for gain in ("", *GAINS) if (rows := kept[gain])}
    for fate, reasons in step.reasons.items():
        listed = reasons.most_common()
        found |= {(fate, why): rows for why, rows in listed[:REASONS]}
        others = sum(rows for _, rows in listed[REASONS:])
        found |= {(fate, OTHERS): others} if others else {}
    return found


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """How many of each group are taken, ``total`` at most: all of the small ones, of the others equally
    many.
    """
    taken = [0] * len(sizes)
    left = total
    order = sorted(range(len(sizes)), key=lambda place: sizes[place])
    for before, place in enumerate(order):
        taken[place] = min(sizes[place], left // (len(order) - before))
        left -= taken[place]
    return taken


def sample(step: Step, wanted: Mapping[Group, int]) -> dict[Group, list[RowPlace]]:
    """A random sample of each group. Rows with the same ids are taken at each step, where they are there."""
    found: dict[Group, list[RowPlace]] = {group: [] for group in wanted}
    for number, part in enumerate(step.store.parts()):
        columns = ["_id", "_fate", "_reason", *(["gain"] if "gain" in part.schema.names else [])]
        table = part.read(columns, None)
        for group, places in _lowest(step, table, wanted).items():
            here = (RowPlace(order, number, row) for order, row in places)
            found[group] = heapq.nsmallest(wanted[group], (*found[group], *here))
    return found


def _lowest(step: Step, table: pa.Table, wanted: Mapping[Group, int]) -> dict[Group, list[tuple[int, int]]]:
    """Of each group the rows of the table with the lowest ranks: (rank, place in the table)."""
    import numpy as np

    numbers = {group: number for number, group in enumerate(wanted)}
    groups_of = np.asarray([numbers.get(each, -1) for each in grouped(step, table, wanted)])
    ranks = np.asarray([rank(id) for id in table["_id"].to_pylist()], np.int64)
    found: dict[Group, list[tuple[int, int]]] = {}
    for group, number in numbers.items():
        rows = np.flatnonzero(groups_of == number)
        rows = rows[np.argsort(ranks[rows], kind="stable")[: wanted[group]]]
        found[group] = list(zip(ranks[rows].tolist(), rows.tolist(), strict=True))
    return found


def grouped(step: Step, table: pa.Table, known: Iterable[Group]) -> list[Group]:
    """The group of each row. A reason that is not in ``known`` is one of ``OTHERS``."""
    fates = table["_fate"].to_pylist()
    reasons = (
        table["_reason"].to_pylist() if table["_reason"].null_count < len(fates) else [None] * len(fates)
    )
    gains: list[float | None] = [None] * len(fates)
    if step.verb == "evaluate" and "gain" in table.column_names:
        gains = table["gain"].to_pylist()
    named = set(known)
    found = []
    for fate, reason, gain in zip(fates, reasons, gains, strict=True):
        why = _by_sign(gain) if fate == "kept" else reason_of(fate, reason or {})
        found.append((fate, why) if (fate, why) in named or fate == "kept" else (fate, OTHERS))
    return found


def _gains(step: Step) -> list[tuple[str, int]]:
    counts = Counter(_by_sign(gain) for gain in step.table(["gain"])["gain"].to_pylist())
    return list(counts.items())


def _by_sign(gain: float | None) -> str:
    if gain is None:
        return ""
    return GAINS[0] if gain > 0 else GAINS[1] if gain < 0 else GAINS[2]


def distinct(rounds: Sequence[RoundData]) -> list[tuple[int, Step]]:
    """Every step once, with the last round that has it; the steps of the last round first."""
    seen: set[str] = set()
    found = []
    for data in reversed(rounds):
        for step in data.steps:
            if step.store.path.name not in seen:
                seen.add(step.store.path.name)
                found.append((data.number, step))
    return found
