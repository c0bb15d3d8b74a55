"""Edit styles: one row per style, with the diff and all columns of a CodeEdit."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.outcomes import Filtered, Kept
from gristmill.contracts.rows import CodeEdit, messages_of
from gristmill.datagen.edits.bug_instructions import STYLES
from gristmill.datagen.edits.diffs import applied
from gristmill.datagen.generate.edit_styles import EditStyles

ROW = {
    "bad": "x = 1\ny = 3\n",
    "good": "x = 1\ny = 2\n",
    "tests": "assert y == 2",
    "long": "Set y to two, as the tests ask.",
    "short": "y = 2",
    "chat": " ",
    "nice": "y = 2",
}
COLUMNS = {"detailed": "long", "concise": "short", "human": "chat", "conversational": "nice"}


class Here:
    seed, step = 17, "styled"


def made(operator: EditStyles, *rows: dict[str, Any]) -> list[list[Any]]:
    return asyncio.run(operator.open(Here())([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))  # type: ignore[arg-type]


def test_a_row_for_each_style_with_a_text_of_its_own() -> None:
    operator = EditStyles(before="bad", after="good", columns=COLUMNS, most=4)
    [outcomes] = made(operator, ROW)
    rows = [outcome.row for outcome in outcomes]
    assert sorted(row["style"] for row in rows) == ["concise", "detailed"], (
        "blank: left out; the same text: once"
    )
    for row in rows:
        assert row["instruction"] == row["instructions"][row["style"]]
        assert applied(row["diff"], row["before"]) == row["after"] == ROW["good"]
        for name, kind in operator.types().items():
            assert pa.array([row[name]], type=kind).null_count == 0
        edit = CodeEdit.model_validate({**ROW, **row})
        assert messages_of({**ROW, **row}) == edit.messages()
        assert edit.messages()[0]["content"].startswith(row["instruction"])


def test_styles_are_drawn_by_the_row_alone() -> None:
    given = {style: f"do it {style}" for style in STYLES}
    rows = [{"before": "a", "after": "b", "instructions": given} for _ in range(40)]
    drawn = [[outcome.row["style"] for outcome in outcomes] for outcomes in made(EditStyles(most=2), *rows)]
    assert all(len(set(styles)) == 2 for styles in drawn)
    assert {style for styles in drawn for style in styles} == set(STYLES)
    assert made(EditStyles(most=2), *rows) == made(EditStyles(most=2), *rows)


def test_rows_without_a_word_or_a_side_are_filtered() -> None:
    found = made(
        EditStyles(), {"before": "a", "after": "b", "instructions": None}, {"before": "a", "instructions": {}}
    )
    assert found == [[Filtered("no_instruction")], [Filtered("no_edit")]]


def test_only_known_styles() -> None:
    with pytest.raises(ValidationError, match="unknown style 'rude'"):
        EditStyles(columns={"rude": "x"})


def test_an_edit_that_changes_nothing_has_an_empty_diff() -> None:
    [[outcome]] = made(EditStyles(), {"before": "a", "after": "a", "instructions": {"concise": "do"}})
    assert isinstance(outcome, Kept)
    assert outcome.row["diff"] == ""
