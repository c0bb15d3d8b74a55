"""Every shared passage of the length is found, and no other, as a comparison of all pairs says."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts import stored_rows
from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup import passages
from gristmill.filters.dedup.substring import SubstringDedup

LENGTH = 16


class Unhurried:
    """A context that never stops."""

    def check(self) -> None:
        return


def judged(texts: list[str | None], **parameters: Any) -> tuple[list[int], list[float], list[str | None]]:
    table = pa.table({"_id": [str(n) for n in range(len(texts))], "response": pa.array(texts, pa.string())})
    result = SubstringDedup(**{"length": LENGTH, **parameters}).judge(TableRows(table), Unhurried())
    column = result.columns.get("response", table["response"])
    return result.duplicate_of.tolist(), result.score.tolist(), column.to_pylist()


def compared(texts: list[str | None], action: str, share: float) -> tuple[list[int], list[float], list]:
    """The same by looking at each window of each text."""
    owner: dict[str, int] = {}
    duplicate_of, scores, left = [], [], []
    for row, text in enumerate(texts):
        text = text or ""
        windows = [text[place : place + LENGTH] for place in range(len(text) - LENGTH + 1)]
        hits = [place for place, window in enumerate(windows) if window in owner]
        covered = {place + offset for place in hits for offset in range(LENGTH)}
        scores.append(len(covered) / len(text) if text else 0.0)
        taken = bool(hits) and scores[-1] >= share
        rest = "".join(each for place, each in enumerate(text) if place not in covered)
        gone = taken and (action == "drop" or not rest.strip())
        duplicate_of.append(owner[windows[hits[0]]] if gone else -1)
        left.append(texts[row] if action == "drop" or not taken else rest)
        if not taken or action == "cut":
            for window in windows:
                owner.setdefault(window, row)
    return duplicate_of, scores, left


parts = st.sampled_from(
    ["a" * 9, "abcdefgh", "xyz", " ", "é語😀", "0123456789abcdef", "\0\x01", "ab" * 8, "\n"]
)
texts = st.lists(st.one_of(st.none(), st.lists(parts, max_size=9).map("".join)), max_size=7)


@settings(max_examples=150)
@given(texts=texts, action=st.sampled_from(["drop", "cut"]), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_it_decides_as_a_comparison_of_all_windows_does(
    texts: list[str | None], action: str, share: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BATCH_ROWS", 2)
        patch.setattr(passages, "_BLOCK", 23)
        assert judged(texts, action=action, share=share) == compared(texts, action, share)
    assert judged(texts, action=action, share=share) == compared(texts, action, share)


@settings(max_examples=50)
@given(texts=texts)
def test_dropping_again_drops_nothing(texts: list[str | None]) -> None:
    kept = [text for text, of in zip(texts, judged(texts)[0]) if of < 0]
    assert set(judged(kept)[0]) <= {-1}


@pytest.mark.parametrize("length", [16, 17, 31, 32, 33, 50, 200])
def test_a_passage_counts_from_its_length_on_wherever_it_stands(length: int) -> None:
    letters = random.Random(length)
    passage = "".join(letters.choices("abcdefghij", k=length))
    for before in range(0, 40, 7):
        texts = ["x" * before + passage + "y" * 5, "?" + passage + "!", "?" + passage[1:] + "!"]
        assert judged(texts, length=length)[0] == [-1, 0, -1]


def test_a_passage_of_dropped_rows_only_is_new() -> None:
    first, second = "".join(map(chr, range(33, 60))), "".join(map(chr, range(60, 90)))
    assert judged([first, first + second, second])[0] == [-1, 0, -1]
    assert judged([first, first + second, second], action="cut") == (
        [-1, -1, 1],
        [0, 27 / 57, 1],
        [first, second, ""],
    )


def test_huge_and_equal_texts_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "_BLOCK", 1000)
    noise = "".join(random.Random(0).choices("abcdefghijklmnop", k=10_000))
    assert judged([noise, "short", noise[5000:5016] + "-", "b" * 20_000, "b" * 100])[0] == [-1, -1, 0, -1, 3]
    assert judged(["x" * 300] * 20, action="cut")[0] == [-1, *[0] * 19]
    assert judged([])[0] == judged([], action="cut")[0] == []


def test_a_column_that_is_no_text_is_refused(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="needs text in the column 'response'"):
        SubstringDedup().apply(rows(response=[1]), context)
    with pytest.raises(DataError, match="needs the column 'response'"):
        SubstringDedup().apply(rows(prompt=["a"]), context)
