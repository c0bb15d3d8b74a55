from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts import registry

ITEM = "write a short story about a lighthouse keeper who finds a map in an old bottle on the shore"
OTHER = "explain to a child of seven years why the sky over the sea turns red in the evening sun"


@pytest.mark.parametrize(
    ("trained", "count"),
    [
        ({"prompt": [ITEM.upper(), "x"]}, 1),
        ({"chosen": ["a", f"Sure. {OTHER}"], "rejected": [ITEM, "b"]}, 2),
        ({"messages": [[{"role": "user", "content": ITEM}], [{"role": "user", "content": "hi"}]]}, 1),
        # A phrase of a template: 13 of 19 words, one of seven 13-grams.
        ({"prompt": [" ".join(ITEM.split()[:13]) + " and a dog", "x"]}, 0),
        ({"prompt": ["Sum 2 and 3!", "x"]}, 1),
        ({"prompt": ["Sum 2 and 3 and 4", "x"]}, 0),
        ({"number": [1, 2]}, None),
    ],
)
def test_items_that_are_trained_on_are_counted(rows: Any, trained: dict[str, Any], count: int | None) -> None:
    items = rows(prompt=[ITEM, OTHER, "sum 2 and 3"])
    assert registry.contaminated_items()(rows(**trained), items) == count


def test_tables_that_cannot_be_compared_say_so(rows: Any) -> None:
    assert registry.contaminated_items()(rows(prompt=["a"]), rows(number=[1])) is None
    assert registry.contaminated_items()(rows(prompt=pa.array([], pa.string())), rows(prompt=["a"])) == 0
