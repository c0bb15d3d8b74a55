"""An error says once where it happened, also after it was sent to another process."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gristmill.contracts.errors import (
    BudgetReached,
    DataError,
    EngineError,
    GristmillError,
    SandboxDied,
    SpecError,
    SpecProblem,
    of_step,
)
from gristmill.pipelines.run.budget import Interrupted
from gristmill.pipelines.store.damage import Damaged, Stranger


def test_step_and_row_stand_before_the_message() -> None:
    assert str(DataError("no column 'numbr'")) == "no column 'numbr'"
    assert str(DataError("no text", row="r1")) == "row r1: no text"
    assert str(DataError("no text", step="kept", row="r1")) == "step kept: row r1: no text"
    assert DataError("no text", step="kept", row="r1").message == "no text"


def test_the_step_that_knows_first_is_named_and_no_other() -> None:
    with pytest.raises(DataError) as caught, of_step("outer"), of_step("inner"):
        raise DataError("no column")
    assert (caught.value.step, str(caught.value)) == ("inner", "step inner: no column")
    with pytest.raises(DataError, match=r"^step own: no column$"), of_step("outer"):
        raise DataError("no column", step="own")


def test_an_error_keeps_its_kind_and_its_exit_code() -> None:
    with pytest.raises(SpecError) as caught, of_step("made"):
        raise SpecError([SpecProblem("a.yaml", 3, 1, "steps", "none")])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("stop", [BudgetReached("the budget is spent"), Interrupted("stopped on request")])
def test_what_stops_the_run_is_no_fault_of_the_step_at_work(stop: GristmillError) -> None:
    with pytest.raises(type(stop)) as caught, of_step("answers"):
        raise stop
    assert caught.value.step is None
    assert "answers" not in str(caught.value)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), of_step("kept"):
        _ = 1 // 0


@pytest.mark.parametrize(
    "error",
    [
        GristmillError("plain"),
        DataError("no text", step="kept", row="r1"),
        EngineError("a dead process", retryable=True),
        SandboxDied("twice"),
        BudgetReached("spent"),
        SpecError([SpecProblem("a.yaml", 3, 1, "steps", "none")]),
        Damaged(Path("part.parquet"), "truncated"),
        Stranger(Path("part.parquet"), "nobody wrote it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_the_same_in_another_process(error: GristmillError) -> None:
    with pytest.raises(GristmillError), of_step("here"):
        raise error
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__
