"""Verification adds verdicts to every row and filters none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gristmill.datagen.constraints.verify import VerifyConstraints
from gristmill.pipelines.errors import DataError
from gristmill.pipelines.operator import Kept

ASKED = json.dumps([{"kind": "lower_case"}, {"kind": "words_at_most", "most": 3}])


def row(response: Any, **more: Any) -> dict[str, Any]:
    return {
        "_id": "r1",
        "prompt": "Describe it.\nBriefly.",
        "response": response,
        "constraints": ASKED,
        **more,
    }


def verdicts(context: Any, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    answers = asyncio.run(VerifyConstraints().open(context)(list(rows)))
    assert len(answers) == len(rows)
    for (outcome,) in answers:
        assert isinstance(outcome, Kept)
    return [outcome.row for (outcome,) in answers]  # type: ignore[union-attr]


def test_every_row_is_kept_with_its_verdicts(context: Any) -> None:
    both, one, none, blank = verdicts(
        context, row("all small"), row("Too Big"), row("Too Big And Long"), row("")
    )
    assert both == {"passed": True, "passed_fraction": 1.0, "constraint_results": [True, True]}
    assert one == {"passed": False, "passed_fraction": 0.5, "constraint_results": [False, True]}
    assert none == {"passed": False, "passed_fraction": 0.0, "constraint_results": [False, False]}
    assert blank["constraint_results"] == [False, False]


def test_the_prompt_counts_where_a_constraint_speaks_of_it(context: Any) -> None:
    asked = json.dumps([{"kind": "repeat_request"}])
    yes, no = verdicts(
        context, row("Describe it. Dark.", constraints=asked), row("Describe that. Dark.", constraints=asked)
    )
    assert (yes["passed"], no["passed"]) == (True, False)


@pytest.mark.parametrize("column", ["prompt", "response", "constraints"])
def test_a_missing_column_is_named_with_its_step(context: Any, column: str) -> None:
    short = {name: value for name, value in row("x").items() if name != column}
    with pytest.raises(DataError, match=rf"step 'step': column '{column}' is missing \(row r1\)"):
        verdicts(context, short)
    with pytest.raises(DataError, match=f"column '{column}' holds NoneType"):
        verdicts(context, {**short, column: None})


def test_a_bad_list_of_constraints_is_named_with_its_row(context: Any) -> None:
    with pytest.raises(DataError, match=r"step 'step', row r1: unknown kind of constraint 'shout'"):
        verdicts(context, row("x", constraints='[{"kind": "shout"}]'))
