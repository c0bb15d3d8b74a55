"""The data card of unusual tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import yaml

from gristmill.pipelines.sinks.card import data_card


def test_long_and_empty_tables_have_cards(context: Any) -> None:
    table = pa.table({"text": ["x" * 10_000, None], "tags": [["a"] * 100, []]})
    card = data_card([table], context, title='A "quoted" title', form="rows", licence=None)
    assert "| `text` | `string` | 1 | 10,000, 10,000 |" in card
    assert len(card) < 5000
    assert yaml.safe_load(card.split("---")[1])["pretty_name"] == 'A "quoted" title'
    assert "Not stated" in card
    assert "There are no rows." in data_card(
        [table.slice(0, 0)], context, title="t", form="rows", licence=None
    )
