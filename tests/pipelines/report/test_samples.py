from __future__ import annotations

import re
import sys
from pathlib import Path

import gristmill
from gristmill.pipelines.report.build import render
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.report.samples import because, kept_samples, rejected_samples
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView


def test_every_rule_and_error_has_a_row_to_read(built_run: RunDirectory) -> None:
    data = gather(built_run).rounds[0]
    found = rejected_samples(data)
    whys = {(row.step, row.fate, row.why.split(",")[0]) for row in found}
    assert whys == {
        ("answers", "failed", "the engine died three times"),
        ("kept", "filtered", "by passed"),
        ("kept", "filtered", "by self_certainty > quantile(0.2)"),
        ("unique", "filtered", "by semantic"),
    }


def test_kept_samples_are_spread_over_the_outcome(built_run: RunDirectory) -> None:
    data = gather(built_run).rounds[0]
    rows = kept_samples(data)
    assert len(rows) == 6
    assert len({row.id for row in rows}) == 6
    assert {row.step for row in rows} == {"unique"}
    assert dict(rows[0].texts).keys() == {"prompt", "response"}
    assert rows[0].figures["passed"] is True


def test_a_reason_in_words() -> None:
    reason = {"rule": "semantic", "score": 0.95, "duplicate_of": "abc", "error": None, "retryable": None}
    assert because(reason) == "by semantic, score 0.95, like abc"
    assert because({"error": "died", "retryable": True}) == "died, may be tried again"
    assert because(None) == ""


def test_what_was_thought_is_folded_before_the_answer(tmp_path: Path) -> None:
    """A run whose model thinks, from the file to the page."""
    file = tmp_path / "file.yaml"
    file.write_text("""
gristmill: 1
name: thinking
models: {base: {engine: synthetic, thinking: true}}
steps:
  slots:   {source: count, rows: 3}
  asked:   {render: {prompt: "Tell me about mill number {{ number }}."}, from: slots}
  answers: {generate: respond, from: asked, model: base, max_tokens: 40}
""")
    run = gristmill.run(file, tmp_path / "run", observer=SilentView(sys.stderr))
    row = run["answers"].to_arrow().to_pylist()[0]
    assert row["reasoning"] not in row["response"]
    page = render(RunDirectory(tmp_path / "run"))
    folded = re.findall(r'<details class="thought"><summary[^>]*>reasoning</summary>(.*?)</details>', page)
    assert len(folded) == 3
    assert row["reasoning"] in " ".join(folded)
    assert row["response"] not in " ".join(folded)
