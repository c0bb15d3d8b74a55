from __future__ import annotations

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.inspect.lineage import lineage
from gristmill.pipelines.store.run_directory import RunDirectory


def ids(run: RunDirectory, step: str, fate: str, number: int = 1) -> list[str]:
    plan = next(each.plan for each in run.rounds() if each.number == number)["steps"][step]
    found: list[str] = run.step(step, plan["fingerprint"]).table(["_id"], fate)["_id"].to_pylist()
    return found


def test_a_row_that_was_trained_on_is_followed_to_its_batch(built_run: RunDirectory) -> None:
    name = ids(built_run, "unique", "kept")[10]
    found = lineage(built_run, name)
    assert [(fate.step, fate.fate) for fate in found.fates] == [
        ("answers", "kept"),
        ("scored", "kept"),
        ("kept", "kept"),
        ("unique", "kept"),
        ("student", "kept"),
    ]
    assert found.fates[-1].batches == ((2, 1.25),)  # the third row of the second batch of eight
    assert found.texts["prompt"].startswith("Write about")


def test_a_filtered_row_tells_its_rule_its_value_and_the_cut(built_run: RunDirectory) -> None:
    rule = "self_certainty > quantile(0.2)"
    plan = built_run.rounds()[0].plan["steps"]["kept"]
    rows = built_run.step("kept", plan["fingerprint"]).table(["_id", "_reason"], "filtered").to_pylist()
    name = next(row["_id"] for row in rows if row["_reason"]["rule"] == rule)
    last = lineage(built_run, name).fates[-1]
    assert (last.step, last.fate) == ("kept", "filtered")
    assert last.reason is not None
    assert last.reason["rule"] == rule
    assert last.values["self_certainty"] <= last.cuts["self_certainty"]


def test_a_duplicate_names_its_neighbor_and_a_failure_its_error(built_run: RunDirectory) -> None:
    twin = lineage(built_run, ids(built_run, "unique", "filtered")[0]).fates[-1]
    assert twin.reason is not None
    assert (twin.reason["rule"], twin.reason["score"]) == ("semantic", 0.95)
    assert twin.reason["duplicate_of"] in ids(built_run, "unique", "kept")
    (failed,) = ids(built_run, "answers", "failed")
    fates = lineage(built_run, failed).fates
    assert [(fate.step, fate.fate) for fate in fates] == [("answers", "failed")]
    assert fates[0].reason is not None
    assert fates[0].reason["error"] == "the engine died three times"


def test_parents_go_up_to_the_seed_and_children_down_over_all_rounds(built_run: RunDirectory) -> None:
    seed = ids(built_run, "seeds", "kept")[7]
    found = lineage(built_run, seed)
    assert found.ancestors == ()
    assert [(fate.step, fate.rounds) for fate in found.fates] == [("seeds", (1, 2))]
    assert len(found.children) == 8  # four samples in each of two rounds
    assert {child.rounds for child in found.children} == {(1,), (2,)}
    child = lineage(built_run, found.children[0].id)
    assert [(parent.id, parent.distance, parent.step) for parent in child.ancestors] == [(seed, 1, "seeds")]


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(built_run: RunDirectory) -> None:
    name = ids(built_run, "unique", "kept")[0]
    assert lineage(built_run, name[:12]).id == name


@pytest.mark.parametrize(
    ("row", "told"), [("zz", "no row's _id starts with 'zz'"), ("", "no row"), ("0", "give a longer prefix")]
)
def test_unknown_and_ambiguous_ids_are_refused(built_run: RunDirectory, row: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        lineage(built_run, row)


def test_each_step_shows_what_it_added_and_no_more(built_run: RunDirectory) -> None:
    found = lineage(built_run, ids(built_run, "unique", "kept")[0])
    shown = {fate.step: set(fate.values) for fate in found.fates}
    assert shown == {
        "answers": {"response", "sample", "finish", "completion_tokens"},
        "scored": {"passed", "self_certainty"},
        "kept": {"self_certainty"},
        "unique": {"cluster"},
        "student": set(),
    }
