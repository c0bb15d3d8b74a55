from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.events import Event, PartDone, RunStarted, StepDone, StepStarted
from gristmill.pipelines.store.ledger import Ledger
from gristmill.pipelines.view.state import RunView, fold


def after(events: list[Event], count: int) -> RunView:
    return reduce(fold, events[:count], RunView())


def test_counts_of_parts_add_up_while_a_step_runs(events: list[Event]) -> None:
    step = after(events, 5).step("answers")
    assert step is not None
    assert (step.handled, step.kept, step.filtered, step.failed) == (15, 13, 1, 1)
    assert step.completion_tokens == 1000


def test_the_ledger_of_a_finished_step_replaces_what_was_counted(events: list[Event]) -> None:
    step = after(events, 7).step("answers")
    assert step is not None
    assert (step.status, step.kept, step.filtered, step.failed) == ("done", 18, 1, 1)


def test_a_reused_step_says_so_and_costs_no_time(events: list[Event]) -> None:
    step = after(events, 2).step("seeds")
    assert step is not None
    assert step.status == "reused"
    assert step.eta(2000.0) is None


def test_time_left_follows_this_sessions_speed_only() -> None:
    started = [
        RunStarted(at=0.5, run="r", name="n", round=1, rounds=1, steps=[("a", "x")], budget={}, spent={}),
        StepStarted(at=10.0, step="a", rows_in=100, done=60),
        PartDone(at=20.0, step="a", rows_in=20, kept=20, filtered=0, failed=0, usage=Usage(), seconds=10.0),
    ]
    step = after(started, 3).step("a")
    assert step is not None
    assert step.fraction() == pytest.approx(0.8)
    assert step.eta(20.0) == pytest.approx(10.0)  # 20 rows left at 20 rows in 10 s


def test_training_is_timed_by_its_own_progress(events: list[Event]) -> None:
    step = after(events, 9).step("student")
    assert step is not None
    assert step.fraction() == pytest.approx(0.25)
    assert step.eta(1016.0) == pytest.approx(30.0)
    assert step.figures == {"loss": 1.25}


def test_rate_now_counts_tokens_since_the_window_began(events: list[Event]) -> None:
    view = after(events, 5)
    assert view.rate(1005.0) == pytest.approx(1000 / 4.0)
    assert view.rate(1100.0) is None  # nothing is generated anymore


def test_rate_forgets_parts_older_than_the_window(events: list[Event]) -> None:
    view = after(events, 5)
    for second in range(30):
        usage = Usage(requests=1, completion_tokens=10)
        part = PartDone(
            at=1006.0 + second,
            step="answers",
            rows_in=1,
            kept=1,
            filtered=0,
            failed=0,
            usage=usage,
            seconds=1.0,
        )
        view = fold(view, part)
    assert view.rate(1035.0) == pytest.approx(10.0)


def test_rows_that_were_generated_count(events: list[Event]) -> None:
    part = {"at": 1.0, "step": "a", "rows_in": 9, "kept": 9, "filtered": 0, "failed": 0, "seconds": 1.0}
    for generated, rows in ((0, 0), (9, 9)):
        event = PartDone(**part, usage=Usage(requests=9), generated=generated)
        assert fold(RunView(), event).rows == rows


def test_budget_adds_this_session_to_earlier_ones(events: list[Event]) -> None:
    view = after(events, 5)
    assert view.spent(1005.0) == {"tokens": 1000 + 1200, "time": 10.0 + 5.0}


def test_a_later_round_keeps_what_the_session_has_spent(events: list[Event]) -> None:
    view = after(events, 11)
    again = RunStarted(
        at=1047.5, run="runs/one", name="n", round=2, rounds=2, steps=[("a", "x")], budget={}, spent={}
    )
    later = fold(view, again)
    assert later.round == 2
    assert [step.name for step in later.steps] == ["a"]
    assert later.started == view.started
    assert later.usage == view.usage
    assert later.results[0].decision == "promoted"
    assert later.results[0].steps[1].kept == 18


def test_where_data_was_written_is_remembered(events: list[Event]) -> None:
    assert after(events, 12).locations == ("runs/one/exports/answers",)


def test_fold_changes_nothing_in_place(events: list[Event]) -> None:
    before = after(events, 3)
    copy = after(events, 3)
    fold(before, events[3])
    assert before == copy


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 50)] * 3, st.floats(0.01, 5.0)), max_size=20))
def test_whatever_comes_the_fraction_and_the_time_left_stay_sane(
    parts: list[tuple[int, int, int, float]],
) -> None:
    now = 1.0
    view = fold(
        RunView(),
        RunStarted(at=now, run="r", name="n", round=1, rounds=1, steps=[("a", "x")], budget={}, spent={}),
    )
    view = fold(view, StepStarted(at=now, step="a", rows_in=200))
    total = Ledger()
    for kept, filtered, failed, wait in parts:
        now += wait
        rows = kept + filtered + failed
        total = total + Ledger(rows, rows, kept, filtered, failed)
        usage = Usage(requests=rows, completion_tokens=rows * 7)
        view = fold(
            view,
            PartDone(
                at=now,
                step="a",
                rows_in=rows,
                kept=kept,
                filtered=filtered,
                failed=failed,
                usage=usage,
                seconds=wait,
            ),
        )
        step = view.step("a")
        assert step is not None
        assert 0.0 <= (step.fraction() or 0.0) <= 1.0
        assert (step.eta(now) or 0.0) >= 0.0
        assert (view.rate(now) or 0.0) >= 0.0
        assert step.handled == step.kept + step.filtered + step.failed == total.made
    done = StepDone(at=now, step="a", ledger=total, usage=Usage(), seconds=1.0, reused=False, summary={})
    assert fold(view, done).steps[0].fraction() == 1.0


@pytest.mark.parametrize(
    ("location", "files", "shown"),
    [
        ("out", ["data.parquet"], "out/data.parquet"),
        (".", ["rows.jsonl"], "rows.jsonl"),
        ("s3://bucket/rows/", ["data.parquet"], "s3://bucket/rows/data.parquet"),
        ("out", ["data-0.arrow", "README.md"], "out"),
    ],
)
def test_an_export_is_shown_as_its_one_file_or_its_directory(
    events: list[Event], location: str, files: list[str], shown: str
) -> None:
    done = StepDone(
        at=1007.0,
        step="answers",
        ledger=Ledger(20, 20, 20, 0, 0),
        usage=Usage(),
        seconds=0.1,
        reused=False,
        summary={"location": location, "files": files},
    )
    assert fold(after(events, 6), done).locations == (shown,)
