"""What is shown of rows that are conversations: their turns, their lengths, their texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import gristmill
from gristmill.pipelines.cli.preview import _value
from gristmill.pipelines.inspect.lineage import lineage
from gristmill.pipelines.report.distributions import length_figures
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.report.samples import kept_samples
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView

PIPELINE = """
gristmill: 1
name: shown
steps:
  chats:  {source: jsonl, path: chats.jsonl}
  scored: {score: length, from: chats}
  many:   {unfold: {n: [id, response_chars]}, from: scored}
"""


def test_reports_and_histories_show_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    turns = [{"role": "user", "content": "How so?"}, {"role": "assistant", "content": "Like this."}]
    lines = [json.dumps({"messages": turns, "id": number}) for number in range(3)]
    Path("chats.jsonl").write_text("\n".join(lines) + "\n")
    Path("shown.yaml").write_text(PIPELINE)
    done = gristmill.run("shown.yaml", tmp_path / "run", observer=SilentView(sys.stderr))
    data = gather(RunDirectory.open(tmp_path / "run")).rounds[0]
    sample = kept_samples(data)[0]
    assert ("messages", "user: How so?\n\nassistant: Like this.") in sample.texts
    captions = [figure.caption for figure in length_figures(data)]
    assert captions[:2] == ["prompt, in characters", "response, in characters"]
    child = done["many"].outcomes()["_id"][0].as_py()
    assert [each.text for each in lineage(RunDirectory.open(tmp_path / "run"), child).ancestors] == [
        "Like this."
    ]


def test_a_preview_shows_turns_and_counts_other_long_lists() -> None:
    turns = [{"role": "user", "content": str(number)} for number in range(9)]
    assert _value({"a": turns}, "a").startswith("user: 0\n\nuser: 1")
    assert _value({"a": list(range(9))}, "a") == "9 values"
