"""Another threshold, compared with what a run of the step with that threshold really keeps."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.pipelines.cli.keep import configure, main
from gristmill.pipelines.inspect.other_threshold import other_threshold
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView

FILE = """
gristmill: 1
name: cut
steps:
  rows:   {source: jsonl, path: rows.jsonl}
  items:  {source: jsonl, path: items.jsonl}
  unlike: {dedup: rouge, columns: [prompt], threshold: 0.6, from: rows}
  unseen: {decontaminate: items, columns: [prompt], n: 8, threshold: 0.1, from: rows}
  best:   {select: best, by: score, rows: 3, from: rows}
  worst:  {select: best, by: score, rows: 3, ascending: true, from: rows}
  late:   {select: best, by: nanoseconds, rows: 3, from: rows}
  some:   {select: random, rows: 3, from: rows}
  same:   {dedup: exact, columns: [prompt], from: [rows, again]}
  again:  {source: jsonl, path: rows.jsonl, rows: 1}
"""
SENTENCE = "the miller grinds wheat and rye between two heavy stones that turn slowly in the cold river"
WORDS = SENTENCE.split()


def rows() -> list[dict[str, Any]]:
    """Rows that share more and more of one sentence, and a row of its own."""
    shared = [
        {"prompt": " ".join([*WORDS[:n], *(f"word{n}{i}" for i in range(17 - n))])} for n in range(6, 18)
    ]
    made = [*shared, {"prompt": "bees dance to tell others where the flowers are"}]
    halves = ["low"] * 7 + ["high"] * 5 + [None]
    return [
        {**row, "score": place / 10, "nanoseconds": 10**18 + place * 10**9 + 1, "half": halves[place]}
        for place, row in enumerate(made)
    ]


def run(folder: Path, **changes: Any) -> RunDirectory:
    overrides = [f"steps.{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    (folder / "f.yaml").write_text(FILE)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (folder / "items.jsonl").write_text(json.dumps({"prompt": " ".join(WORDS)}) + "\n")
    name = "run" + "".join(map(str, changes.values()))
    gristmill.run(folder / "f.yaml", folder / name, overrides=overrides, observer=SilentView(sys.stderr))
    return RunDirectory.open(folder / name)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(folder)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9, 1.0])
def test_decontamination_is_exact(
    done: RunDirectory, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = other_threshold(done, "unseen", threshold)
    monkeypatch.chdir(done.path.parent)
    really = other_threshold(run(done.path.parent, unseen__threshold=threshold), "unseen", threshold)
    assert (found.certainty, found.then, found.current) == ("exact", really.now, 0.1)
    assert 0 < found.now < found.then < found.rows == 13


def test_the_present_threshold_gives_what_was_kept(done: RunDirectory) -> None:
    for name in ("unlike", "unseen"):
        found = other_threshold(done, name, 0.6 if name == "unlike" else 0.1)
        assert found.then == found.now


def test_duplicates_are_an_estimate_when_raised(done: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    found = other_threshold(done, "unlike", 0.8)
    monkeypatch.chdir(done.path.parent)
    really = other_threshold(run(done.path.parent, unlike__threshold=0.8), "unlike", 0.8)
    assert found.certainty == "estimate"
    assert found.then is not None
    assert found.now < really.now <= found.then  # what comes back has duplicates of its own
    assert found.lowest is not None
    assert 0.6 <= found.lowest <= found.highest <= 1.0  # type: ignore[operator]


@pytest.mark.parametrize("name", ["unlike", "unseen"])
def test_a_lower_threshold_is_not_known(done: RunDirectory, name: str) -> None:
    found = other_threshold(done, name, 0.05)
    assert (found.then, found.certainty) == (None, "unknown")
    assert "run the step with it" in found.because


def test_the_rows_are_counted_by_a_column(done: RunDirectory) -> None:
    for name, threshold in (("unlike", 0.8), ("unseen", 0.5), ("best", 0.5), ("same", 0.0)):
        found = other_threshold(done, name, threshold, "half")
        assert [group.name for group in found.groups] == ["low", "high", None][: len(found.groups)]
        assert sum(group.rows for group in found.groups) == found.rows
        assert sum(group.now for group in found.groups) == found.now
        assert sum(group.then for group in found.groups) == found.then
    best = other_threshold(done, "best", 0.5, "half")
    assert [(group.rows, group.now, group.then) for group in best.groups] == [(7, 7, 2), (5, 5, 5), (1, 1, 1)]
    assert other_threshold(done, "unlike", 0.05, "half").groups == ()
    assert other_threshold(done, "unlike", 0.8).by is None
    with pytest.raises(DataError, match="no step of this run has a column 'hal' to group by"):
        other_threshold(done, "unlike", 0.8, "hal")


def test_the_command_counts_the_rows_by_a_column(
    done: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    asked = [str(done.path), "unseen", "--what-if", "0.5", "--by", "half"]
    main(parser.parse_args(asked))
    shown = capsys.readouterr().out
    assert "(none): rows that did not reach a step with a half" in shown
    assert main(parser.parse_args([*asked, "--json"])) == 0
    assert [group["name"] for group in json.loads(capsys.readouterr().out)["groups"]] == ["low", "high", None]


def test_a_selection_by_a_column_counts_the_rows_that_reach_it(done: RunDirectory) -> None:
    found = other_threshold(done, "best", 0.5)
    assert (found.then, found.certainty) == (8, "exact")
    lowest = other_threshold(done, "worst", 0.5)
    assert (lowest.then, lowest.certainty) == (6, "exact")
    latest = other_threshold(done, "late", 1e18 + 5e9)
    assert (latest.then, latest.certainty) == (8, "exact")


def test_rows_without_a_score_stay_out(done: RunDirectory) -> None:
    found = other_threshold(done, "same", 0.0)
    assert (found.now, found.then, found.unscored, found.lowest) == (13, 13, 1, None)
    assert found.certainty == "exact"
    assert "no threshold" in found.because


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("unlik", "did you mean 'unlike'"),
        (
            "rows",
            "the dedup or decontaminate or select steps are best, late, same, some, unlike, unseen, worst",
        ),
        ("some", "chooses by chance"),
    ],
)
def test_mistakes_are_told(done: RunDirectory, step: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        other_threshold(done, step, 0.5)


def test_the_command_shows_both_and_how_far_to_trust_them(
    done: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    main(parser.parse_args([str(done.path), "unseen", "--what-if", "0.5"]))
    shown = capsys.readouterr().out
    assert "unseen (decontaminate), round 1: 13 rows came in" in shown
    assert "exact: each row is judged by its own score" in shown
    main(parser.parse_args([str(done.path), "unlike", "--what-if", "0.1"]))
    assert "not known" in capsys.readouterr().out
    main(parser.parse_args([str(done.path), "unlike", "--what-if", "0.8", "--json"]))
    assert json.loads(capsys.readouterr().out)["certainty"] == "estimate"
