"""Decides which shared passages go: in the order of the rows, the first row with a passage keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...contracts.stored_rows import ROW
from .first_occurrence import HIGH, LOW
from .passages import PLACE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SharedText:
    """What a row shares with earlier rows.

    ``spans``: the characters of its passages, ascending and apart (start and end). ``of``: the number of the
    earlier row that has the first of them.
    """

    row: int
    spans: list[tuple[int, int]]
    of: int

    @property
    def characters(self) -> int:
        return sum(end - start for start, end in self.spans)


class Owners:
    """The windows that several rows have, and which row keeps each."""

    def __init__(self, windows: Mapping[str, NDArray[np.int64]], length: int) -> None:
        """``windows``: columns of ``passages.shared_windows``, in any order. ``length``: of each, in
        characters."""
        import numpy as np

        self.length = length
        high, low = windows[HIGH], windows[LOW]
        self._rows, self._places = windows[ROW], windows[PLACE]
        order = np.lexsort((low, high))
        new = np.ones(len(order), bool)
        new[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
        self._number = np.empty(len(order), np.int64)
        self._number[order] = np.cumsum(new) - 1
        self._owner = np.full(int(new.sum()), -1, np.int64)
        self._order = np.lexsort((self._places, self._rows))

    def rows(self) -> Iterator[tuple[SharedText, NDArray[np.int64]]]:
        """Yield what each row shares with owners before it, in order, and its windows without an owner.

        The caller may let the row keep those, before it asks for the next row.
        """
        import numpy as np

        ordered = self._rows[self._order]
        ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered))
        start = 0
        for end in ends.tolist() if len(ordered) else ():
            chosen = self._order[start:end]
            start = end
            number = self._number[chosen]
            owner = self._owner[number]
            owned = owner >= 0
            places = self._places[chosen][owned]
            shared = SharedText(
                int(self._rows[chosen[0]]),
                _spans(places, self.length),
                int(owner[owned][0]) if owned.any() else -1,
            )
            yield shared, number[~owned]

    def keep(self, row: int, windows: NDArray[np.int64]) -> None:
        self._owner[windows] = row


def _spans(places: NDArray[np.int64], length: int) -> list[tuple[int, int]]:
    """The union of the windows that begin at ``places`` (ascending)."""
    import numpy as np

    if not len(places):
        return []
    gaps = np.flatnonzero(np.diff(places) > length)
    starts = places[np.concatenate([[0], gaps + 1])]
    ends = places[np.append(gaps, len(places) - 1)] + length
    return list(zip(starts.tolist(), ends.tolist()))
