from __future__ import annotations

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.inspect.what_if import what_if
from gristmill.pipelines.store.run_directory import RunDirectory

CURRENT = "passed AND self_certainty > quantile(0.2)"


def test_the_present_condition_keeps_just_what_the_run_kept(built_run: RunDirectory) -> None:
    found = what_if(built_run, "kept@1", CURRENT)
    assert found.current == CURRENT
    assert found.now == found.then == found.both > 0


def test_a_stricter_condition_keeps_fewer_and_nothing_new(built_run: RunDirectory) -> None:
    found = what_if(built_run, "kept", "passed AND self_certainty > quantile(0.6)")
    assert found.then == found.both < found.now < found.rows
    assert found.summary["thresholds"]["self_certainty"] > 0


def test_a_looser_condition_keeps_all_that_was_kept_and_more(built_run: RunDirectory) -> None:
    found = what_if(built_run, "kept", "passed OR NOT passed")
    assert found.then == found.rows
    assert found.both == found.now


def test_effects_by_cluster_add_up_with_those_that_have_none_last(built_run: RunDirectory) -> None:
    found = what_if(built_run, "kept", "passed")
    assert found.by == "cluster"
    assert sum(group.rows for group in found.groups) == found.rows
    assert sum(group.now for group in found.groups) == found.now
    assert sum(group.then for group in found.groups) == found.then
    assert [group.name for group in found.groups][-1] is None
    assert len(found.groups) == 7
    assert found.groups[-1].now == 0  # only kept rows got a cluster


def test_any_column_can_group(built_run: RunDirectory) -> None:
    found = what_if(built_run, "kept", "passed", by="sample")
    assert sorted(group.name or "" for group in found.groups) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("step", "expression", "by", "told"),
    [
        ("kept", "pased", None, "did you mean 'passed'"),
        ("kept", "passed; DROP TABLE x", None, "keep:"),
        ("kept", "passed", "colour", "no step of this run has a column 'colour'"),
        ("scored", "passed", None, "the keep steps are kept"),
    ],
)
def test_mistakes_are_told(
    built_run: RunDirectory, step: str, expression: str, by: str | None, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        what_if(built_run, step, expression, by)
