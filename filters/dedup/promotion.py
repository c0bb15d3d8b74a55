"""Do the rows that a student was trained on contain the items that decide its promotion?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...contracts.column_types import reads_as_text
from ...contracts.exchanges import MESSAGES
from ..columns import text_column
from .decontaminate import Decontaminate

if TYPE_CHECKING:
    import pyarrow as pa

#: Share of an item's n-grams in one row from which the item counts as trained on. Prompts that are composed
#: from the same templates share less.
SHARE = 0.5
#: The columns that are compared without being named.
KNOWN: tuple[str, ...] = Decontaminate.model_fields["columns"].default


def contaminated_items(
    trained: pa.Table, items: pa.Table, read: Iterable[str] = (), asked: Iterable[str] = ()
) -> int | None:
    """Return how many items are equal to a text of a training row, or share half of their 13-grams with one.

    ``read``: the columns that the training names. ``asked``: those that the evaluation asks about. They are
    compared beside those that ``decontaminate`` knows; of ``asked`` those that tell the items apart, since
    many rows may share the text of an instruction, or the passage that several questions are about.

    Programs count that differ only in names and layout. An item of which another one shares more with every
    such row is not counted. None if the texts that the items ask about, or those of the rows, cannot be
    compared, and nothing else tells.
    """
    import numpy as np

    if not trained.num_rows or not items.num_rows:
        return 0
    asked = sorted(asked)
    mine = _texts(trained, (*KNOWN, *read))
    theirs = _texts(items, KNOWN) + [
        name for name in _texts(items, asked) if name not in KNOWN and _is_own(items, name)
    ]
    if not mine or not theirs:
        return None
    step = _Deciding(
        against=("items",),
        threshold=SHARE,
        columns=tuple(dict.fromkeys((*KNOWN, *mine, *theirs))),
        asking=tuple({*mine, *theirs} - {*KNOWN}),
    )
    matched, bad = step.match(trained.select(mine), items.select(theirs))
    hit = len(np.unique(matched.item[bad]))
    checked = not asked or {*asked, MESSAGES} & {*theirs}
    return hit if hit or checked else None


class _Deciding(Decontaminate):
    """``asking``: further columns that may match as a whole, however short."""

    asking: tuple[str, ...] = ()

    def _whole(self, name: str) -> bool:
        return name in self.asking or super()._whole(name)


def _texts(table: pa.Table, names: Iterable[str]) -> list[str]:
    """Those of the columns that hold texts."""
    return [
        name
        for name in dict.fromkeys(names)
        if name in table.column_names
        and reads_as_text(table.column(name).type)
        and table.column(name).null_count < table.num_rows
    ]


def _is_own(items: pa.Table, name: str) -> bool:
    """Whether most items have a text of their own in a column."""
    import pyarrow.compute as pc

    return bool(2 * pc.count_distinct(text_column(items, name, "decontaminate")).as_py() > items.num_rows)
