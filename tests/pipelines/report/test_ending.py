"""What the report says of a run that a budget, a person or an error ended; and names in words."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import gristmill
from gristmill.contracts.errors import BudgetReached
from gristmill.pipelines.report.build import render
from gristmill.pipelines.report.ending import ending
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.report.names import in_words
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView

PIPELINE = """
gristmill: 1
name: spent
models: {base: {engine: synthetic}}
budget: {tokens: 300}
steps:
  slots:   {source: count, rows: 400}
  asked:   {render: {prompt: "Tell me about mill number {{ number }}."}, from: slots}
  answers: {generate: respond, from: asked, model: base, max_tokens: 20}
  long:    {keep: "completion_tokens > 2", from: answers}
"""


def test_the_funnel_says_when_a_budget_ended_the_run(tmp_path: Path) -> None:
    file = tmp_path / "spent.yaml"
    file.write_text(PIPELINE)
    with pytest.raises(BudgetReached):
        gristmill.run(file, tmp_path / "run", observer=SilentView(sys.stderr))
    run = RunDirectory.open(tmp_path / "run")
    page = render(run)
    funnel = page[page.index('<section id="funnel">') : page.index("</section>")]
    assert "<b>The budget ended this run</b> here. The budget of 300 tokens is spent (" in funnel
    assert re.search(r"\(not finished\), \d+ of 400 rows", funnel)
    assert page.count("The budget ended this run") == 3  # at the top, in the funnel, and at the costs

    gristmill.run(file, run.path, overrides=["budget.tokens=100000"], observer=SilentView(sys.stderr))
    assert run.ended()[0] == "done"
    assert ending(gather(run)) is None
    assert "ended this run" not in render(run)


@pytest.mark.parametrize(
    ("status", "title"),
    [
        ("interrupted", "This run was stopped"),
        ("failed", "This run failed"),
        ("running", "This run has not ended"),
        ("done", None),
        ("", None),
    ],
)
def test_other_endings_have_their_own_words(tmp_path: Path, status: str, title: str | None) -> None:
    run = RunDirectory.create(tmp_path / "run", name="run")
    assert run.ended() == ("", "")
    run.write_seconds(1.0, status, "it said so")
    found = ending(gather(run))
    assert (found and found.title) == title
    if found is not None and status != "running":
        assert found.message == "It said so"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("held_out_loss", "held-out loss"),
        ("drawn.math.rows", "drawn: math: rows"),
        ("verdict.gain_fraction.ci_low", "verdict: gain fraction: interval low"),
        ("tokens_per_s", "tokens per second"),
        ("round 1: verdict.gain", "round 1: verdict: gain"),
        ("_", "_"),
    ],
)
def test_keys_are_shown_in_words(key: str, words: str) -> None:
    assert in_words(key) == words
