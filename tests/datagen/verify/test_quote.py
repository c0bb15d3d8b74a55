"""Quotations: where they stand, in which forms, and which do not pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed
from gristmill.datagen.verify.quote import VerifyQuote
from gristmill.datagen.verify.quoted_places import QuotePlace, quoted_places

TEXT = """The **millstone** turns slowly – it's “dressed” every
winter. Grain falls through the hop-
per into the eye; flour leaves at the rim."""


def judged(row: dict[str, Any], context: Any, **settings: Any) -> Any:
    [[outcome]] = asyncio.run(VerifyQuote(**settings).open(context)([row]))
    return outcome


@pytest.mark.parametrize(
    ("quote", "stands"),
    [
        ("Grain falls through", "Grain falls through"),
        ("the millstone turns slowly", "The **millstone** turns slowly"),
        ('"it’s "dressed" every winter."', "it's “dressed” every\nwinter"),
        ("slowly - it's 'dressed", None),
        ("turns slowly — it's", "turns slowly – it's"),
        ("through the hopper into", "through the hop-\nper into"),
        ("through the hop-per into", None),
        ("falls through the hop- per into", "falls through the hop-\nper into"),
        ("  flour leaves at the rim  ", "flour leaves at the rim"),
        ("lour leaves at the rim", None),
        ("flour leaves at the ri", None),
        ("flour always leaves at the rim", None),
        ("the rim leaves at flour", None),
    ],
)
def test_a_quotation_and_its_exact_place(quote: str, stands: str | None) -> None:
    found = quoted_places(quote, TEXT, 3)
    if stands is None:
        assert isinstance(found, str)
        assert found.startswith("the text lacks")
    else:
        assert found == [QuotePlace(TEXT.index(stands), TEXT.index(stands) + len(stands))]


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_what_is_copied_is_found(before: str, quote: str, after: str) -> None:
    """Between spaces, so that no word is cut."""
    text = f"{before} {quote} {after}"
    found = quoted_places(quote, text, 1)
    if isinstance(found, str):
        assert "fewer than 1 words" in found
    else:
        assert all(text[place.start : place.stop] for place in found)


def test_parts_of_a_quotation() -> None:
    left_out = quoted_places("The millstone turns … flour leaves at the rim", TEXT, 3)
    assert [TEXT[place.start : place.stop] for place in left_out if isinstance(place, QuotePlace)] == [
        "The **millstone** turns",
        "flour leaves at the rim",
    ]
    lines = quoted_places("Grain falls through\n\nflour leaves at", TEXT, 3)
    assert len(lines) == 2
    assert (
        quoted_places("The millstone turns ... bread is baked", TEXT, 3) == "the text lacks 'bread is baked'"
    )
    assert quoted_places("The millstone ... leaves at", TEXT, 3) == (
        "the quotation 'The millstone' has fewer than 3 words"
    )


@pytest.mark.parametrize(
    ("quote", "text", "stands"),
    [
        ("The fee is 1", "The fee is 1,200 dollars.", False),
        ("The fee is 3.", "The fee is 3.50 dollars.", False),
        ("200 dollars are due", "Here 1,200 dollars are due.", False),
        ("50 dollars are due", "Here 3.50 dollars are due.", False),
        ("The fee is 1,200", "The fee is 1,200 dollars.", True),
        ("The fee is 3.", "The fee is 3. It is due.", True),
        ("The fee is 3", "The fee is 3, not 4.", True),
        ("2 of them are due", "1,2 of them are due. Of these, 2 of them are due.", True),
    ],
)
def test_a_number_is_not_cut(quote: str, text: str, stands: bool) -> None:
    found = quoted_places(quote, text, 3)
    assert isinstance(found, list) is stands
    if quote.startswith("2 of"):
        assert found == [QuotePlace(text.rindex(quote), len(text) - 1)]


def test_parts_around_what_is_left_out_stand_in_their_order() -> None:
    turned = "flour leaves at the rim … The millstone turns"
    told = "the text lacks 'The millstone turns' after the part before it"
    assert quoted_places(turned, TEXT, 3) == told
    assert len(quoted_places(turned, TEXT + " The millstone turns.", 3)) == 2
    assert len(quoted_places(turned.replace(" … ", "\n"), TEXT, 3)) == 2
    twice = quoted_places("Grain falls through … Grain falls through", TEXT, 3)
    assert isinstance(twice, str)
    divided = "A mill-\nstone turns here. Flour leaves it. A millstone turns here."
    found = quoted_places("A millstone turns here … Flour leaves it", divided, 3)
    assert [divided[place.start : place.stop] for place in found if isinstance(place, QuotePlace)] == [
        "A mill-\nstone turns here",
        "Flour leaves it",
    ]


def test_rows(context: Any) -> None:
    row = {"_id": "r", "text": TEXT, "quote": "Grain falls through"}
    place = TEXT.index("Grain")
    assert judged(row, context).row == {
        "passed": True,
        "reason": None,
        "quote_places": [{"start": place, "stop": place + 19}],
    }
    both = {**row, "quote": ["Grain falls through", "no such words here"]}
    assert judged(both, context).row == {
        "passed": False,
        "reason": "the text lacks 'no such words here'",
        "quote_places": None,
    }
    assert judged({**row, "quote": []}, context).row["reason"] == "there is no quotation"
    assert judged({**row, "quote": "Grain falls"}, context).row["passed"] is False
    assert judged({**row, "quote": "Grain falls"}, context, min_words=2).row["passed"] is True
    for wrong in ({**row, "quote": None}, {**row, "quote": [1]}, {**row, "text": 3}):
        assert isinstance(judged(wrong, context), Failed)
