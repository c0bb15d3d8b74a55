from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.score.quality import Quality, quality

GOOD = (
    "Water boils when its vapor pressure equals the pressure of the air above it. At sea level that happens\n"
    "at 100 degrees. On a high mountain the air presses less, so water boils at a lower temperature there,\n"
    "and pasta needs more time. A pressure cooker does the opposite: it holds the steam in, pressure rises,\n"
    "and food cooks faster because the water gets hotter before it boils.\n"
)


def measured(*values: str | None) -> list[dict[str, Any]]:
    columns = quality(pa.chunked_array([pa.array(values, pa.large_string())]))
    return pa.table(dict(columns)).to_pylist()


def test_good_prose_passes_every_rule() -> None:
    found = measured(GOOD)[0]
    assert all(found[rule] for rule in ("gopher", "gopher_repetition", "c4", "fineweb"))
    assert found["words"] == len(GOOD.split())
    assert found["mean_word_length"] == pytest.approx(sum(map(len, GOOD.split())) / len(GOOD.split()))
    assert found["prose_share"] == 1.0


def test_shares_of_lines_and_words() -> None:
    found = measured("- one\n- two\n\nIt goes on...\nAnd it ends.\n# 17")[0]
    assert found["bullet_lines"] == 2 / 5
    assert found["ellipsis_lines"] == 1 / 5
    assert found["stopped_lines"] == 2 / 5  # an ellipsis ends a sentence, too
    assert found["short_lines"] == 1.0
    assert found["alphabetic_share"] == 8 / 12
    assert found["symbol_ratio"] == 2 / 12


def test_repeated_lines_and_ngrams() -> None:
    line = "to be or not to be that is"
    found = measured(f"{line}\n{line}\n{line}\nsomething else here")[0]
    size, other = len(line), len("something else here")
    assert found["repeated_lines"] == pytest.approx(2 * size / (3 * size + other))
    letters, rest = len(line.replace(" ", "")), len("somethingelsehere")
    assert found["repeated_5gram"] == pytest.approx(2 * letters / (3 * letters + rest))
    assert found["top_2gram"] == pytest.approx(6 * 4 / (3 * letters + rest))  # "to be", six times


def test_ngrams_do_not_cross_from_one_text_to_the_next() -> None:
    alone = measured("b a c d b")[0]
    assert measured("x", "b a c d b", "a c d b")[1] == alone  # "b a" would occur twice
    assert alone["repeated_5gram"] == alone["top_2gram"] == 0.0


def test_a_line_repeats_those_of_its_own_text_only() -> None:
    assert [found["repeated_lines"] for found in measured("the same", "the same")] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("no no no yes. " * 40, "gopher_repetition"),
        (f"{GOOD}{GOOD}{GOOD}", "gopher_repetition"),
        ("1234 5678 - 90 % 12 + 34 word", "gopher"),
        ("- first of all\n- and then\n- at last\n", "gopher"),
        ("Dear [insert name], the meeting is on Monday.", "c4"),
        ("Lorem ipsum dolor sit amet.", "c4"),
        ("words that never come to an end", "fineweb"),
        (
            "Menu\nHome\nAbout\nLogin\nContact\nHelp\nImprint\nTerms\nCart\nNews\nSearch\nAll of it.\n",
            "fineweb",
        ),
    ],
)
def test_each_rule_refuses_what_it_was_made_for(text: str, rule: str) -> None:
    assert measured(text)[0][rule] is False


def test_rules_do_not_judge_code() -> None:
    found = measured("for i in range(10):\n    print(i)\n    total = total + i\n")[0]
    assert found["prose_share"] < 0.5
    assert [found[rule] for rule in ("gopher", "gopher_repetition", "c4", "fineweb")] == [None] * 4


def test_a_row_without_text_has_null_in_every_column(context: Any) -> None:
    table = pa.table({"response": pa.array([None, "It is so."], pa.string())})
    found = Quality().open(context)(table)
    assert list(found.columns) == list(Quality().added())
    assert all(column.to_pylist()[0] is None for column in found.columns.values())
    assert all(column.to_pylist()[1] is not None for column in found.columns.values())


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=60)), max_size=6))
def test_any_text_is_measured_as_it_would_be_alone(values: list[str | None]) -> None:
    together = measured(*values)
    assert together == [measured(value)[0] for value in values]
    for found in together:
        assert all(0 <= value <= 1 for name, value in found.items() if "_lines" in name and value is not None)
