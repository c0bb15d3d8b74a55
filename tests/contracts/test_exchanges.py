from __future__ import annotations

from typing import Any

import pytest

from gristmill.contracts.exchanges import texts_of

TALK = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
]


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"prompt": "p", "response": "r"}, ("p", "r")),
        ({"messages": TALK}, ("q", "a")),
        ({"prompt": None, "response": "r", "messages": TALK}, ("q", "r")),
        ({"prompt": TALK[:2], "chosen": TALK[2:]}, ("s\n\nq", "a")),
        ({"prompt": "p", "chosen": "c", "rejected": "x"}, ("p", "c")),
        ({"prompt": 5}, ("5", None)),
        ({}, (None, None)),
    ],
)
def test_the_texts_that_are_shown_of_a_row(row: dict[str, Any], texts: tuple[str | None, ...]) -> None:
    assert texts_of(row) == texts
