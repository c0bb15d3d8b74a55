"""What an operator returns: what happens to each row, to a whole table, and the rows it makes.

Part of the contracts: everything may import this module, and it imports only other contracts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from .rows import Row

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Kept:
    """The row is kept; the columns of ``row`` are added to those of its parent or replace them."""

    row: Row


@dataclass(frozen=True, slots=True)
class Filtered:
    """The row is filtered: by which rule, at which score, and as a duplicate of which ``_id``."""

    rule: str
    score: float | None = None
    duplicate_of: str | None = None
    row: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The row could not be made or judged. ``retryable`` is false if another attempt cannot help."""

    error: str
    retryable: bool = False
    row: Row = field(default_factory=dict)


Outcome: TypeAlias = Kept | Filtered | Failed


@dataclass(slots=True)
class TableResult:
    """The result of a table operator, aligned with the rows of its input.

    ``kept``: bool, shape ``(rows,)``; None keeps all. ``rule``: why the others are filtered, one
    rule for all or one per row. ``score``: float64 ``(rows,)``. ``duplicate_of``: the ``_id`` each filtered
    row duplicates, or the number of that row (int64 ``(rows,)``, -1 for none), which takes less memory.
    ``errors``: for each row that failed, a message or a :class:`Failed` that says whether another attempt can
    help; None for the others.
    ``columns``: Arrow arrays (or chunked arrays) to add or replace, of the table's length.
    ``summary``: JSON-able figures for the report.
    """

    kept: NDArray[np.bool_] | None = None
    rule: str | Sequence[str | None] = ""
    score: NDArray[np.float64] | None = None
    duplicate_of: Sequence[str | None] | NDArray[np.int64] | None = None
    errors: Sequence[str | Failed | None] | None = None
    columns: Mapping[str, pa.Array | pa.ChunkedArray] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class NewRows:
    """New rows, each made from several parents (for example preference pairs).

    ``parents[i]``: the ``_id`` of the parents of ``rows[i]``, at least one. ``unused``: for each input
    row that has no children, the reason. Together they account for every input row.
    """

    rows: Sequence[Row]
    parents: Sequence[Sequence[str]]
    unused: Mapping[str, Filtered | Failed] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
