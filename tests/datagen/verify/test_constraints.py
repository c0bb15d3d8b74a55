"""Verification adds verdicts to every row and filters none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.verify.constraints import VerifyConstraints

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
    assert both == {
        "passed": True,
        "passed_loose": True,
        "passed_fraction": 1.0,
        "constraint_results": [True, True],
    }
    assert one == {
        "passed": False,
        "passed_loose": False,
        "passed_fraction": 0.5,
        "constraint_results": [False, True],
    }
    assert none == {
        "passed": False,
        "passed_loose": False,
        "passed_fraction": 0.0,
        "constraint_results": [False, False],
    }
    assert blank["constraint_results"] == [False, False]


def test_the_prompt_counts_where_a_constraint_speaks_of_it(context: Any) -> None:
    asked = json.dumps([{"kind": "repeat_request"}])
    yes, no = verdicts(
        context, row("Describe it. Dark.", constraints=asked), row("Describe that. Dark.", constraints=asked)
    )
    assert (yes["passed"], no["passed"]) == (True, False)


def test_the_loose_verdict_forgives_what_is_around_an_answer(context: Any) -> None:
    around, inside = verdicts(context, row("Sure:\nall small"), row("Sure:\nNo:\nall small"))
    assert (around["passed"], around["passed_loose"]) == (False, True)
    assert (inside["passed"], inside["passed_loose"]) == (False, False)


def test_an_item_of_ifeval_is_verified_as_it_comes(context: Any) -> None:
    item = {
        "_id": "r1",
        "prompt": "Name two birds.",
        "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
        "kwargs": [{"num_bullets": None}, {"num_bullets": 2}],
    }
    yes, no = verdicts(context, {**item, "response": "* a\n* b"}, {**item, "response": "* a, b"})
    assert yes["constraint_results"] == [True, True]
    assert no["constraint_results"] == [False, False]


def failures(context: Any, *rows: dict[str, Any]) -> list[str | None]:
    answers = asyncio.run(VerifyConstraints().open(context)(list(rows)))
    return [outcome.error if isinstance(outcome, Failed) else None for (outcome,) in answers]


@pytest.mark.parametrize("column", ["prompt", "response", "constraints"])
def test_a_row_without_a_column_fails_alone(context: Any, column: str) -> None:
    short = {name: value for name, value in row("x").items() if name != column}
    before, missing, null, after = failures(context, row("x"), short, {**short, column: None}, row("y"))
    assert (before, after) == (None, None)
    assert missing is not None
    assert missing.startswith(f"column '{column}' is missing; rows come from")
    assert null is not None
    assert null.startswith(f"column '{column}' holds NoneType;")


@pytest.mark.parametrize(
    ("constraints", "told"),
    [
        ('[{"kind": "shout"}]', "unknown kind of constraint 'shout'"),
        ('[{"kind": "words_at_most"}]', "constraint 'words_at_most': most: is required, but missing"),
        ("[]", "must be a JSON list"),
        ("{", "is not JSON text"),
        ("[" * 100_000, "is not JSON text"),
    ],
)
def test_a_row_with_a_bad_list_of_constraints_fails_alone(context: Any, constraints: str, told: str) -> None:
    good, bad = failures(context, row("x"), row("x", constraints=constraints))
    assert good is None
    assert bad is not None
    assert told in bad


def test_a_keyword_that_backtracks_costs_its_row_alone(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.datagen.verify.constraints.SECONDS", 1)
    keyword = json.dumps([{"kind": "keywords:existence", "keywords": ["(a+)+$"]}])
    endless, fits = (row("a" * 40 + end, constraints=keyword) for end in ("!", ""))
    [[lost], [kept]] = asyncio.run(VerifyConstraints().open(context)([endless, fits]))
    assert isinstance(lost, Failed)
    assert lost.error == "its constraints cannot be judged: it takes longer than 1 s"
    assert isinstance(kept, Kept)
    assert kept.row["constraint_results"] == [True]
