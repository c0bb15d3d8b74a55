"""Steps that name `prompt` or `response` do the same to conversations as to rows that have these columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.contracts.exchanges import ViewedRows, view
from gristmill.contracts.stored_rows import TableRows
from gristmill.pipelines.inspect.rows_of import rows_of
from gristmill.pipelines.inspect.what_if import what_if
from gristmill.pipelines.view.silent import SilentView

LONG = "the quick brown fox jumps over the lazy dog while nine old men watch from a red wall"
PAIRS = [
    ("How many legs has a fox?", f"Four. {LONG}"),
    ("How many legs has a fox ?", f"It has 4: {LONG}"),
    ("Name a color.", "Red."),
    ("Name a color.", "Blue, and also: 7"),
]
STEPS = {
    "length": "score: length",
    "compression": "score: compression, towards: texts",
    "minhash": "dedup: minhash, columns: [prompt], threshold: 0.9",
    "rouge": "dedup: rouge",
    "substring": "dedup: substring, length: 60",
    "longest": "select: longest, rows: 2",
    "vote": "select: vote, answer: rank",
    "seen": "decontaminate: texts, columns: [prompt]",
    "number": "verify: number, answer: truth",
    "keep": "keep: \"Response LIKE '%7' OR len(prompt) > 24\"",
    "keep_mean": "keep: 'len(response) > quantile(0.3)'",
    "compute": "compute: {size: 'len(response)', both: \"prompt || ' ' || rows.response\"}",
    "render": "render: {said: '{{ prompt }} -> {{ response }}'}",
}
PIPELINE = """
gristmill: 1
name: view
models: {m: {engine: synthetic}}
steps:
  texts: {source: jsonl, path: texts.jsonl}
  chats: {source: jsonl, path: chats.jsonl}
"""


def turns(prompt: str, response: str) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": "s"}]
    return [*system, {"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, overrides: Sequence[str] = ()
) -> gristmill.Run:
    monkeypatch.chdir(folder)
    beside = [{"rank": number % 3, "truth": "4"} for number in range(len(PAIRS))]
    write("texts.jsonl", [{"prompt": p, "response": r} | more for (p, r), more in zip(PAIRS, beside)])
    write("chats.jsonl", [{"messages": turns(p, r)} | more for (p, r), more in zip(PAIRS, beside)])
    Path("view.yaml").write_text(PIPELINE + text)
    return gristmill.run("view.yaml", observer=SilentView(sys.stderr), overrides=overrides)


def test_every_kind_of_step_reads_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        f"  {name}_of_{rows}: {{{step}, from: {rows}}}\n"
        for name, step in STEPS.items()
        for rows in ("texts", "chats")
    ]
    done = run(tmp_path, monkeypatch, "".join(lines))
    changed = 0
    for name in STEPS:
        texts, chats = (done[f"{name}_of_{rows}"].outcomes().to_pylist() for rows in ("texts", "chats"))
        own = {"_id", "_parents", "_reason", "prompt", "response", "messages"}
        for one, other in zip(texts, chats, strict=True):
            assert {k: v for k, v in one.items() if k not in own} == {
                k: v for k, v in other.items() if k not in own
            }, name
            assert not {"prompt", "response"} & set(other)  # the view is no part of the rows
        changed += any(row["_fate"] != "kept" for row in chats)
    assert changed >= 6


def test_what_a_step_changes_must_be_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("dedup: substring, length: 60, action: cut", "score: secrets, replace: true"):
        with pytest.raises(GristmillError, match="no column 'response'"):
            run(tmp_path, monkeypatch, f"  o: {{{step}, from: chats}}\n")


def test_rows_with_and_without_columns_of_their_own_are_read_together() -> None:
    table = pa.table(
        {"prompt": ["own", None, None], "messages": [turns("p", "r"), turns("q", "a"), None], "n": [1, 2, 3]}
    )
    made = view(table, ["prompt", "response"])
    assert made["prompt"].to_pylist() == ["own", "q", None]
    assert made["response"].to_pylist() == ["r", "a", None]
    assert view(table, []).equals(table)


def test_turns_before_the_last_answer_are_the_prompt_and_what_follows_it_is_nothing() -> None:
    said = [*turns("p", "r"), {"role": "user", "content": "q"}]
    open_ended = pa.table({"messages": [said, said[:2]]})
    assert view(open_ended, ["prompt"])["prompt"].to_pylist() == ["p", "p"]
    assert view(open_ended, ["response"])["response"].to_pylist() == ["r", None]
    longer = [*said, {"role": "assistant", "content": "last"}]
    assert view(pa.table({"messages": [longer]}), ["prompt"])["prompt"].to_pylist() == ["p\n\nr\n\nq"]


def test_stored_rows_read_messages_only_where_the_view_is_asked_for() -> None:
    rows = ViewedRows(TableRows(pa.table({"messages": [turns("p", "r")], "n": [1]})), ["prompt"])
    assert list(rows.column_names) == ["messages", "n", "prompt"]
    assert rows.table(["prompt"]).to_pylist() == [{"prompt": "p"}]
    assert [batch.column_names for batch in rows.batches(["n"])] == [["n", "_row"]]
    made = rows.map(lambda table: table.select(["prompt", "_row"]), ["prompt"], name="x")
    assert made.table(["prompt"]).to_pylist() == [{"prompt": "p"}]


def test_questions_about_a_run_read_conversations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, monkeypatch, "  kept: {keep: 'len(response) > 10', from: chats}\n")
    found = what_if(done.directory, "kept", "len(response) > 4")
    assert (found.now, found.then) == (3, 3)
    assert what_if(done.directory, "kept", "prompt LIKE 'Name%'").then == 2
    table, number = rows_of(done.directory, "kept", where="response LIKE 'Blue%'")
    assert number == 1
    assert "response" not in table.column_names


def test_an_expression_without_conversations_still_needs_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("keep: 'len(nothing) > 1'", "compute: {x: nothing}", "render: {x: '{{ nothing }}'}"):
        with pytest.raises(GristmillError, match="no column 'nothing'"):
            run(tmp_path, monkeypatch, f"  o: {{{step}, from: chats}}\n")


def test_a_prompt_of_a_model_is_rendered_from_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teach: Any
) -> None:
    step = "generate: template, model: m, parser: {kind: text, column: made}"
    asked = "template: '{{ prompt }}{% if response %} {{ response }}{% endif %}'"
    steps = [f"  of_{rows}: {{{step}, {asked}, from: {rows}}}\n" for rows in ("texts", "chats")]
    url = teach(lambda prompt, seed: f"asked: {prompt}").url
    done = run(
        tmp_path, monkeypatch, "".join(steps), [f"models.m={{engine: openai, url: '{url}', model: m}}"]
    )
    texts, chats = (done[f"of_{rows}"].to_arrow() for rows in ("texts", "chats"))
    assert chats["made"].to_pylist() == [f"asked: {prompt} {response}" for prompt, response in PAIRS]
    assert texts["made"].to_pylist() == chats["made"].to_pylist()
    assert "prompt" not in chats.column_names
