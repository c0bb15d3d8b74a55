"""The loose rules forgive what is around an answer, and asterisks."""

from __future__ import annotations

import pytest

from gristmill.datagen.constraints.kinds import constraint_from
from gristmill.datagen.constraints.loose import holds_loosely

QUOTED = constraint_from({"kind": "startend:quotation"})


@pytest.mark.parametrize(
    "response",
    [
        '"Yes."',
        'Sure:\n"Yes."',
        '"Yes."\nI hope this helps!',
        'Sure:\n\n"Yes."\n\nBye.',
        '**"Yes."**',
        'Sure:\n*"Yes."*\nBye.',
    ],
)
def test_the_first_line_the_last_and_asterisks_may_be_left_out(response: str) -> None:
    assert holds_loosely(QUOTED, response, "")


@pytest.mark.parametrize("response", ["Yes.", 'Sure:\nWell:\n"Yes."', '_"Yes."_', "", "\n", "**"])
def test_nothing_else_is_forgiven(response: str) -> None:
    assert not holds_loosely(QUOTED, response, "")


def test_a_form_with_nothing_in_it_passes_nothing() -> None:
    no_comma = constraint_from({"kind": "punctuation:no_comma"})
    assert not holds_loosely(no_comma, "Well, yes.", "")
    assert holds_loosely(no_comma, "Well, yes.\nYes.", "")


def test_a_constraint_may_hold_by_its_asterisks() -> None:
    bullets = constraint_from({"kind": "detectable_format:number_bullet_lists", "num_bullets": 2})
    assert holds_loosely(bullets, "* a\n* b", "")
    assert holds_loosely(bullets, "* a\n* b\n* c", "")
