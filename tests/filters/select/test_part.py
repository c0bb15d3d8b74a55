from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.filters.select.part import SelectPart


@pytest.mark.parametrize("of", [1, 2, 3, 7, 12])
def test_the_parts_have_nothing_in_common_and_together_all_rows(context: Any, rows: Any, of: int) -> None:
    table = rows(prompt=list("abcdefghij"))
    kept = [SelectPart(part=part, of=of).apply(table, context).kept for part in range(1, of + 1)]
    assert sum(each.astype(int) for each in kept).tolist() == [1] * 10
    sizes = [int(each.sum()) for each in kept]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == [SelectPart(part=part, of=of).estimate(10).rows for part in range(1, of + 1)]


def test_rows_that_stand_together_are_divided(context: Any, rows: Any) -> None:
    result = SelectPart(part=2, of=3).apply(rows(prompt=list("aaabbb")), context)
    assert result.kept.tolist() == [False, True, False, False, True, False]
    assert (result.rule, result.score.tolist()) == ("part", [1, 2, 3, 1, 2, 3])


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no part 4 of 3"):
        SelectPart(part=4, of=3)
