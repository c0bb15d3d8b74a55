"""The error about rows that cannot be trained on: each message once, and advice that can help."""

from __future__ import annotations

import pytest

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.unfit import LeftOut, check_share

CALL = "the model's chat template leaves out the call"
ROWS = [
    *(LeftOut(f"r{n}", "left out by the chat template", CALL) for n in range(9)),
    LeftOut("x", "too long", "long"),
]


def test_a_message_is_said_once_with_its_first_row() -> None:
    with pytest.raises(DataError) as found:
        check_share(ROWS, 12, 0.2)
    assert found.value.message == (
        "10 of 12 rows cannot be trained on; unfit_limit allows 20% "
        "(9 left out by the chat template, 1 too long). "
        f"r0 and 8 others: {CALL}; x: long. "
        "Correct them, remove them with a keep step before training, or raise unfit_limit"
    )


def test_where_no_row_is_left_none_can_be_removed() -> None:
    with pytest.raises(DataError, match=r"10 of 10 rows .* x: long\. Correct them$"):
        check_share(ROWS, 10, 0.2)
    check_share(ROWS[:2], 10, 0.2)
