"""Do the rows that a student was trained on contain the items that decide its promotion?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decontaminate import Decontaminate

if TYPE_CHECKING:
    import pyarrow as pa

#: Share of an item's n-grams in one row from which the item counts as trained on. Prompts that are composed
#: from the same templates share less.
SHARE = 0.5


def contaminated_items(trained: pa.Table, items: pa.Table) -> int | None:
    """Return how many items are equal to a text of a training row, or share half of their 13-grams with one.

    Programs count that differ only in names and layout. An item of which another one shares more with every
    such row is not counted. None if one of the tables has no column of texts that ``decontaminate`` compares.
    """
    import numpy as np

    step = Decontaminate(against=("items",), threshold=SHARE)
    if not (set(step.columns) & set(trained.column_names) and set(step.columns) & set(items.column_names)):
        return None
    matched, bad = step.match(trained, items)
    return len(np.unique(matched.item[bad]))
