"""What datasets and TRL make of the files: every value back, and calls in the templates' own form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from datasets.packaged_modules.json.json import JsonConfig
from transformers.utils.chat_template_utils import render_jinja_template

from gristmill.contracts.errors import DataError
from gristmill.contracts.notices import listening
from gristmill.pipelines.sinks import ArrowExport, JsonlExport, ParquetExport, inferred, jsonl
from gristmill.pipelines.sinks.features import refuse_unreadable
from gristmill.pipelines.sinks.formats import FORMATS

CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": '{"city": "Köln"}'}}
TOLD = [
    {"role": "user", "content": "Köln?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
]
TALK = [
    {"role": "system", "content": "Be brief."},
    *TOLD,
    {"role": "tool", "content": "12", "tool_call_id": "c1"},
    {"role": "assistant", "content": "12 degrees."},
]
PLAIN = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
TOOLS = json.dumps([{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}])


@pytest.fixture
def heard() -> Iterator[list[str]]:
    texts: list[str] = []
    with listening(texts.append):
        yield texts


def load(path: Path, **more: Any) -> datasets.Dataset:
    datasets.disable_progress_bars()
    cache = str(path.parent / "cache")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache, **more)


def rendered(template: str, turns: list[dict[str, Any]], tools: Any) -> str:
    text = files("trl").joinpath("chat_templates", f"{template}.jinja").read_text()
    (made,), _ = render_jinja_template([turns], tools=tools, chat_template=text, bos_token="")
    return str(made)


@pytest.mark.parametrize("template", ["qwen2_5", "llama3_1"])
@pytest.mark.parametrize("form", ["messages", "prompt_completion_turns", "prompt_chosen_rejected_turns"])
def test_trl_s_templates_write_calls_as_models_do(
    tmp_path: Path, context: Any, form: str, template: str
) -> None:
    """Arguments are objects, not the JSON text of a text, and a turn without calls has no key for them."""
    rows: list[dict[str, Any]] = [{"messages": PLAIN, "tools": None}, {"messages": TALK, "tools": TOOLS}]
    if form == "prompt_chosen_rejected_turns":
        talk = {"prompt": TALK[:-1], "chosen": TALK[-1:], "rejected": PLAIN[1:], "tools": TOOLS}
        rows = [{"prompt": PLAIN[:1], "chosen": PLAIN[1:], "rejected": TALK[-1:], "tools": None}, talk]
    path = tmp_path / "out.jsonl"
    JsonlExport(path=str(path), format=form).write(pa.Table.from_pylist(rows), context, tmp_path)
    plain, talk = load(path).to_list()
    names = {"messages": ["messages"], "prompt_completion_turns": ["prompt", "completion"]}.get(
        form, ["prompt", "chosen"]
    )
    turns = [[turn for name in names for turn in row[name]] for row in (plain, talk)]
    assert "Hello" in rendered(template, turns[0], plain["tools"])
    made = rendered(template, turns[1], talk["tools"])
    assert '{"city": "Köln"}' in made
    assert '\\"' not in made


def test_arguments_that_are_no_object_stay_as_they_are(tmp_path: Path, context: Any) -> None:
    for text in ("[1]", "no JSON", '{"x": NaN}', '"x"'):
        call = {**CALL, "function": {"name": "w", "arguments": text}}
        turns = [TOLD[0], {**TOLD[1], "tool_calls": [call]}]
        JsonlExport(format="messages").write(pa.table({"messages": [json.dumps(turns)]}), context, tmp_path)
        (line,) = (tmp_path / "data.jsonl").read_text().splitlines()
        assert json.loads(line)["messages"][1]["tool_calls"][0]["function"]["arguments"] == text


def test_typed_files_say_what_templates_make_of_them(tmp_path: Path, context: Any, heard: list[str]) -> None:
    calls, plain = pa.table({"messages": [json.dumps(TALK)]}), pa.table({"messages": [json.dumps(PLAIN)]})
    for export in (ParquetExport, ArrowExport):
        export(format="messages").write(calls, context, tmp_path / export.__name__)
    assert len(heard) == 2
    assert all("a turn without tool_call_id, tool_calls has null there" in text for text in heard)
    ParquetExport(format="messages").write(plain, context, tmp_path / "plain")
    JsonlExport(format="messages").write(calls, context, tmp_path / "lines")
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("form", "column"), [("prompt_completion", "response"), ("prompt_chosen_rejected", "chosen")]
)
def test_a_system_prompt_that_trl_does_not_read_is_told(
    tmp_path: Path, context: Any, heard: list[str], form: str, column: str
) -> None:
    row = {"prompt": "q", column: "a", "rejected": "b", "system": "s"}
    names = ["prompt", column] + (["rejected"] if column == "chosen" else [])
    table = pa.Table.from_pylist([row]).select([*names, "system"])
    JsonlExport(format=form).write(table, context, tmp_path)
    assert [f"without system, which others read: for TRL, use `format: {form}_turns`" in each
            for each in heard] == [True]  # fmt: skip
    made = FORMATS[f"{form}_turns"](row)
    assert made["prompt"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    JsonlExport(format=f"{form}_turns").write(table, context, tmp_path / "turns")
    JsonlExport(format=form).write(table.drop(["system"]), context, tmp_path / "none")
    assert len(heard) == 1


@pytest.mark.parametrize("turns", [PLAIN[1:], [TALK[0], PLAIN[1]], [*PLAIN, PLAIN[1]]])
def test_a_completion_needs_a_turn_that_it_answers(turns: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="row 7: prompt_completion_turns needs a turn of the user or of a t"):
        FORMATS["prompt_completion_turns"]({"_id": "7", "messages": turns})


def test_types_that_datasets_lacks_are_refused_or_told(
    tmp_path: Path, context: Any, heard: list[str]
) -> None:
    kinds = pa.map_(pa.string(), pa.int64())
    tables = {
        "maps": pa.table({"x": pa.array([[{"a": [("k", 1)]}]], pa.list_(pa.struct([("a", kinds)])))}),
        "list views": pa.table({"x": pa.array([[1]], pa.list_view(pa.int64()))}),
    }
    for what, table in tables.items():
        with pytest.raises(DataError, match=rf"column 'x' holds {what}, which `datasets` .*`drop: \[x\]`"):
            ArrowExport().write(table, context, tmp_path / "arrow")
        with pytest.raises(ValueError, match="does not have a datasets dtype equivalent"):
            datasets.Features.from_arrow_schema(table.schema)
        ParquetExport().write(table, context, tmp_path / what)
    assert [text.split(", which")[0] for text in heard] == [
        f"export: column 'x' holds {what}" for what in tables
    ]
    refuse_unreadable(pa.schema([("a", pa.list_(pa.struct([("b", pa.large_list(pa.date32()))])))]))


def test_texts_that_are_all_dates_are_told(tmp_path: Path, context: Any, heard: list[str]) -> None:
    table = pa.table({"day": ["2026-01-02", None], "at": ["2026-01-02T03:04:05Z"] * 2,
                      "mixed": ["2026-01-02", "no"], "fine": ["2026-01-02T03:04:05.5"] * 2,
                      "in": [[{"x": "2026-01-02 03:04"}], []]})  # fmt: skip
    path = tmp_path / "out.jsonl"
    JsonlExport(path=str(path)).write(table, context, tmp_path)
    read = load(path)
    times = [name for name in ("day", "at", "mixed", "fine") if "timestamp" in str(read.features[name])]
    assert times == ["day", "at"]
    assert "timestamp" in str(read.features["in"])
    (text,) = heard
    assert text.startswith("export: the texts of day, at, in[].x all look like dates, and `datasets` and")


def test_what_the_first_part_of_a_file_lacks_is_told(
    tmp_path: Path, context: Any, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``datasets`` stops there; with everything in the first part it reads on, and nothing is told."""
    monkeypatch.setattr(jsonl, "READ_FIRST", 20_000)
    plain = {"messages": PLAIN, "note": None, "tags": []}
    last = {"messages": TALK, "note": "n", "tags": ["t"]}
    path = tmp_path / "out.jsonl"
    for first, message in (
        (plain, "in messages[].tool_calls, messages[].tool_call_id, note, tags, "),
        (last, ""),
    ):
        rows = [first] + [plain] * 500 + [last]
        table = pa.table(
            {
                "messages": [json.dumps(row["messages"]) for row in rows],
                "note": pa.array([row["note"] for row in rows], pa.string()),
                "tags": pa.array([row["tags"] for row in rows], pa.list_(pa.string())),
            }
        )
        JsonlExport(path=str(path), format="messages", columns=("note", "tags")).write(
            table, context, tmp_path
        )
        if message:
            (told,) = heard
            assert f"no row of the first 10 MiB has a value {message}and `datasets` can stop" in told
            with pytest.raises(datasets.exceptions.DatasetGenerationError):
                load(path, chunksize=20_000)
        else:
            assert len(load(path, chunksize=20_000)) == len(rows)
    assert len(heard) == 1
    assert JsonConfig().chunksize == inferred.READ_FIRST


def test_whole_numbers_that_readers_round_are_refused(tmp_path: Path, context: Any) -> None:
    fits = pa.table(
        {"n": pa.array([2**63 - 1], pa.uint64()), "in": pa.array([[2**63 - 1]], pa.list_(pa.uint64()))}
    )
    JsonlExport(path=str(tmp_path / "a.jsonl")).write(fits, context, tmp_path)
    assert load(tmp_path / "a.jsonl").to_list() == fits.to_pylist()
    for table in (
        pa.table({"n": pa.array([[2**63]], pa.list_(pa.uint64()))}),
        pa.table({"n": pa.array([Decimal(2**63 + 1)], pa.decimal128(38, 0))}),
    ):
        with pytest.raises(DataError, match=r"column 'n.*`export: parquet`"):
            JsonlExport().write(table, context, tmp_path / "out")
