"""Without rows, every export keeps the columns, whatever step they come from."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill

PIPELINE = """
gristmill: 1
name: nothing
on_failure: accept
models: {m: {engine: synthetic}}
steps:
  one:      {source: jsonl, path: one.jsonl}
  zero:     {source: parquet, path: zero.parquet}
  stored:   {source: dataset, path: zero.arrow}
  folder:   {source: dataset, path: zero.hf}
  empty:    {source: jsonl, path: empty.jsonl, columns: [prompt]}
  none:     {keep: "prompt = 'zzz'", from: one}
  answered: {generate: respond, from: none, model: m}
  asked:    {generate: respond, from: zero, model: m}
  unique:   {dedup: exact, from: zero}
  random:   {select: random, rows: 3, from: none}
  pairs:    {pair: preferences, by: score, from: none}
"""
COLUMNS = {
    "zero": ["prompt", "response"],
    "stored": ["prompt", "response"],
    "folder": ["prompt", "response"],
    "empty": ["prompt"],
    "none": ["prompt", "response", "score"],
    "answered": ["prompt", "response", "score", "finish"],
    "asked": ["prompt", "response", "finish"],
    "unique": ["prompt", "response"],
    "random": ["prompt", "response", "score"],
    "pairs": ["prompt", "response", "score"],
}
#: Steps whose rows have the column ``score``, as a plan knows it.
SCORED = ("none", "answered", "random")
KINDS = ("parquet", "arrow", "jsonl")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nothing")
    (folder / "one.jsonl").write_text('{"prompt": "a", "response": "b", "score": 1.0}\n')
    (folder / "empty.jsonl").write_text("")
    table = pa.table({"prompt": pa.array([], pa.string()), "response": pa.array([], pa.string())})
    pq.write_table(table, folder / "zero.parquet")
    with pa.ipc.new_file(str(folder / "zero.arrow"), table.schema):
        pass
    datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(str(folder / "zero.hf"))
    text = PIPELINE
    for name in ("one.jsonl", "empty.jsonl", "zero.parquet", "zero.arrow", "zero.hf"):
        text = text.replace(f"path: {name}", f"path: {json.dumps(str(folder / name))}")
    for step in COLUMNS:
        text += "".join(f"  {step}-{kind}: {{export: {kind}, from: {step}}}\n" for kind in KINDS)
        columns = ", columns: [score]" if step in SCORED else ""
        text += f"  {step}-turns: {{export: parquet, from: {step}, format: messages{columns}}}\n"
    (folder / "t.yaml").write_text(text)
    return gristmill.run(folder / "t.yaml", folder / "run").path / "exports"


@pytest.mark.parametrize("step", COLUMNS)
def test_an_export_of_no_rows_keeps_its_columns(exports: Path, step: str) -> None:
    table = pq.read_table(exports / f"{step}-parquet" / "data.parquet")
    assert (table.num_rows, table.column_names[0]) == (0, "id")
    assert set(COLUMNS[step]) <= set(table.column_names)
    saved = datasets.load_from_disk(str(exports / f"{step}-arrow"))
    assert (len(saved), saved.column_names) == (0, table.column_names)
    assert (exports / f"{step}-jsonl" / "data.jsonl").read_bytes() == b""
    turns = pq.read_table(exports / f"{step}-turns" / "data.parquet")
    assert (turns.num_rows, turns.column_names) == (
        0,
        ["id", "messages", *(["score"] if step in SCORED else [])],
    )


def test_types_survive_where_there_are_no_rows(exports: Path) -> None:
    schema = pq.read_schema(exports / "none-parquet" / "data.parquet")
    assert (schema.field("prompt").type, schema.field("score").type) == (pa.string(), pa.float64())


def test_what_was_exported_without_rows_is_read_again(exports: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "gristmill: 1\nname: again\nsteps:\n"
        f"  a: {{source: dataset, path: {json.dumps(str(exports / 'none-arrow'))}}}\n"
        f"  b: {{source: parquet, path: {json.dumps(str(exports / 'none-parquet'))}}}\n"
    )
    run = gristmill.run(file, tmp_path / "run")
    for step in ("a", "b"):
        assert {"prompt", "response", "score", "id"} <= set(run[step].to_arrow().column_names)
