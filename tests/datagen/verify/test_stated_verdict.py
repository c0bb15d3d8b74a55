"""A critic's verdict: read if it is stated clearly, and compared with a verifier's."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.verify.stated_verdict import VerifyVerdict


def verified(operator: VerifyVerdict, *rows: dict[str, Any]) -> list[Any]:
    apply = operator.open(None)  # type: ignore[arg-type]
    found = asyncio.run(apply([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))
    return [outcome for [outcome] in found]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("correct", True),
        ("Incorrect.", False),
        ("**Wrong**", False),
        ("Yes", True),
        ("NO", False),
        ("The answer is not correct.", False),
        ("It isn't right", False),
        ("The solution isn\u2019t wrong.", True),
        ("Verdict: correct, no mistakes.", True),
        ("no errors", True),
        ("The answer is correct, but the method is wrong", None),
        ("correct or incorrect", None),
        ("incorrectly", None),
        ("maybe", None),
        ("", None),
        ("correct " * 40, None),
    ],
)
def test_what_a_text_says(text: str, verdict: bool | None) -> None:
    assert VerifyVerdict().read(text) is verdict


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("given", ["right", "wrong", True, False, "perhaps", None])
def test_it_matches_where_it_says_what_was_found(given: Any, truth: bool) -> None:
    [outcome] = verified(VerifyVerdict(truth="found_right"), {"verdict": given, "found_right": truth})
    said = {"right": True, "wrong": False, True: True, False: False}.get(given)
    assert outcome.row["verdict"] is said
    assert outcome.row["passed"] is outcome.row["verdict_matches"] is (said is truth)
    assert (outcome.row["reason"] is None) is outcome.row["passed"]
    pa.RecordBatch.from_pylist([outcome.row], schema=pa.schema(VerifyVerdict().types()))


def test_without_a_finding_there_is_nothing_to_match() -> None:
    null, text, missing, silent, good = verified(
        VerifyVerdict(),
        {"verdict": "right", "answer_passed": None},
        {"verdict": "right", "answer_passed": "true"},
        {"verdict": "right"},
        {"answer_passed": True},
        {"verdict": "right", "answer_passed": True},
    )
    assert [type(outcome) for outcome in (null, text, missing, silent, good)] == [Failed] * 4 + [Kept]
    assert "holds NoneType" in null.error
    assert "'verdict' is missing" in silent.error


def test_other_words_say_it_in_other_languages() -> None:
    operator = VerifyVerdict(right=("richtig",), wrong=("Falsch",))
    assert operator.read("Die Antwort ist falsch.") is False
    assert operator.read("correct") is None
    with pytest.raises(ValidationError, match="single words"):
        VerifyVerdict(right=("not bad",))


@given(st.text())
def test_any_text_gives_a_verdict_or_none(text: str) -> None:
    [outcome] = verified(VerifyVerdict(), {"verdict": text, "answer_passed": True})
    assert outcome.row["passed"] is (outcome.row["verdict"] is True)
    assert outcome.row["passed"] or outcome.row["reason"].encode()


def test_the_summary_is_the_confusion() -> None:
    table = pa.table({"verdict": [True, True, False, None], "verdict_matches": [True, False, True, False]})
    assert VerifyVerdict().summary(table) == {
        "right, said right": 1,
        "right, said wrong": 0,
        "wrong, said right": 1,
        "wrong, said wrong": 1,
        "unreadable": 1,
    }
