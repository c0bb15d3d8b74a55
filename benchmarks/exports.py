"""Do trainers read what we export? Every format and kind of file, loaded by the tools that it is meant for.

    make benchmarks/.peers/.installed && .venv/bin/python benchmarks/exports.py

Writes conversations (some with calls of tools, thoughts and weights), exchanges, pairs and tasks with every
export, and lets ``exports_peers.py`` load them in the peers' environment: with datasets, pandas and polars,
which must give back every value, and with the trainers of TRL, which must make one step.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from measuring import peers_python, run_case, versions

from gristmill.pipelines.sinks import ArrowExport, JsonlExport, ParquetExport

HERE = Path(__file__).parent
#: Qwen 2.5 and Llama 3.1 need the arguments of calls as objects, and Llama 3.1 takes null calls for calls.
TEMPLATES = ("qwen2_5", "llama3_1")


class Quiet:
    """The context of an export that reports nowhere. ``step``, ``seed``: what the data card says."""

    step, seed = "exports", 0

    def check(self) -> None: ...

    def progress(self, *_: Any, **__: Any) -> None: ...


def call(city: str, **more: Any) -> dict[str, Any]:
    arguments = json.dumps({"city": city, **more}, ensure_ascii=False)
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": arguments},
    }


def talk(city: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"{city}?"},
        {"role": "assistant", "content": None, "tool_calls": [call(city, **more)]},
        {"role": "tool", "content": "12", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "12 degrees."},
    ]


TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Look.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
    ]
)
PLAIN = [{"role": "user", "content": "Grüße \U0001f600\u2028"}, {"role": "assistant", "content": "Hallo"}]
CHATS = [
    {"messages": PLAIN, "tools": None},
    {"messages": talk("Ulm"), "tools": TOOLS},
    {"messages": talk("Köln", day="2026-01-02"), "tools": TOOLS},
    {"messages": [PLAIN[0], {**PLAIN[1], "reasoning_content": "A greeting."}], "tools": None},
]
ASKED = [
    {"prompt": "Why?", "response": "Because.", "system": "Be brief.", "label": True},
    {"prompt": "How?", "response": "So.", "system": None, "label": False},
]
PAIRS = [
    {"prompt": "Why?", "chosen": "Because.", "rejected": "No.", "system": "Be brief."},
    {"prompt": "2026-01-02", "chosen": "2026-01-03", "rejected": "?", "system": None},
]
TASKS = [
    {"prompt": "1 + 1", "answer": 2, "verifier": "math", "system": "Be brief."},
    {"prompt": "2 + 2", "answer": 4, "verifier": "math", "system": None},
]
#: Format -> its rows, and the columns to write beside it.
ROWS: dict[str, tuple[list[dict[str, Any]], tuple[str, ...] | None]] = {
    "messages": (CHATS, None),
    "prompt_completion_turns": ([{**row, "label": row["tools"] is None} for row in CHATS], ("label",)),
    "sharegpt": (CHATS, None),
    "prompt_completion": (ASKED, ("label",)),
    "alpaca": (ASKED, None),
    "prompt_chosen_rejected": (PAIRS, None),
    "prompt_chosen_rejected_turns": (PAIRS, None),
    "grpo": (TASKS, None),
    "verifiers": (TASKS, None),
    "rlvr": (TASKS, None),
}
SINKS = {"jsonl": JsonlExport, "parquet": ParquetExport, "arrow": ArrowExport}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for form, (rows, columns) in ROWS.items():
            table = pa.Table.from_pylist(rows)
            table = table.append_column("_id", pa.array([f"r{number}" for number in range(len(rows))]))
            for kind, sink in SINKS.items():
                path = str(Path(folder) / (f"{form}.{kind}" if kind != "arrow" else f"{form}_arrow"))
                sink(path=path, format=form, columns=columns).write(table, Quiet(), Path(folder))
        found = run_case(
            [str(peers_python()), str(HERE / "exports_peers.py"), folder, *TEMPLATES], timeout=1800
        )
    print(versions("gristmill"), file=sys.stderr)
    print("| tool | format | files | rows | what was done |\n|---|---|---|---|---|")
    kinds: dict[tuple[str, ...], list[str]] = {}
    for tool, form, kind, rows, said in found.answer["lines"]:
        kinds.setdefault((tool, form, str(rows), said), []).append(kind)
    for (tool, form, rows, said), each in kinds.items():
        print(f"| {tool} | {form} | {', '.join(each)} | {rows} | {said} |")
    if found.answer["failed"]:
        sys.exit("\n".join(found.answer["failed"]))


if __name__ == "__main__":
    main()
