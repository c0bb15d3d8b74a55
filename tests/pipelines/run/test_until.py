"""``until``: nothing is downloaded that the steps up to it do not use."""

from __future__ import annotations

from pathlib import Path

import pytest

import gristmill
from gristmill.contracts.errors import ModelError

from .event_log import Log

PIPELINE = """
gristmill: 1
name: until
models:
  small:  {engine: synthetic}
  direct: {path: nobody/direct}
  before: {path: nobody/before}
  base:   {path: nobody/base}
  one:    {path: nobody/one}
  other:  {path: nobody/other}
  mixed:  {engine: combined, base: one, plus: one, minus: other}
steps:
  prompts:  {source: constraints, rows: 3}
  answers:  {generate: respond, from: prompts, model: small}
  asked:    {generate: respond, from: prompts, model: direct}
  drafts:   {generate: respond, from: prompts, model: before}
  kept:     {keep: length(response) > 0, from: drafts}
  student:  {train: sft, from: answers, model: base}
  learned:  {generate: respond, from: prompts, model: student}
  combined: {generate: respond, from: prompts, model: mixed}
"""


@pytest.mark.parametrize(
    ("until", "fetched"),
    [
        ("asked", "direct"),
        ("kept", "before"),
        ("student", "base"),
        ("learned", "base"),
        ("combined", "one"),
    ],
)
def test_the_models_that_the_steps_use_are_fetched_first(
    until: str, fetched: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "f.yaml").write_text(PIPELINE)
    log = Log()
    run = gristmill.run(tmp_path / "f.yaml", tmp_path / "run", until="answers", observer=log)
    assert len(run["answers"]) == 3
    for step, name in ((until, fetched), (None, "direct")):
        with pytest.raises(ModelError, match=f"nobody/{name}@main is not on this machine"):
            gristmill.run(tmp_path / "f.yaml", tmp_path / "run", until=step, observer=log)
        assert log.notices.pop().startswith(f"fetching the model nobody/{name} ")
    assert not log.notices
    assert set(log.made) == {"prompts", "answers"}
