"""What the first rows of a training show before it begins: how many of them cannot be trained on, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...contracts.counting import counted
from ...contracts.rows import Row
from .unfit import LeftOut, count_reasons


def first_look(rows: Sequence[Row], check: Callable[[Row], None], limit: float, *, whole: bool) -> str | None:
    """Return a sentence about those of ``rows`` that cannot be trained on; None if there are none.

    ``check``: raises ValueError for such a row. ``limit``: the share of rows that may be left out. ``whole``:
    whether these are all rows of the training.
    """
    left_out = []
    for row in rows:
        try:
            check(row)
        except ValueError as error:
            left_out.append(LeftOut.of(row["_id"], error))
    if not left_out:
        return None
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in count_reasons(left_out).items())
    of = f"{len(left_out):,} of its {'' if whole else 'first '}{counted(len(rows), 'row')}"
    told = f"{of} cannot be trained on ({reasons}); {left_out[0].id}: {left_out[0].message}"
    if len(left_out) <= limit * len(rows):
        return f"{told}. They will be left out"
    allowed = f"unfit_limit allows {limit:.0%}" if limit else "unfit: refuse allows none"
    return f"{told}. The training will stop{'' if whole else ' if all rows are like these'}: {allowed}"
