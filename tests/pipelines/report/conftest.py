"""Two runs to browse and to compare: chats with tools, duplicates, what other people write, an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.outcomes import Failed, Kept, Outcome, TableResult
from gristmill.pipelines.run.outcomes import from_outcomes
from gristmill.pipelines.run.verdicts import from_table_result
from gristmill.pipelines.store.run_directory import RunDirectory

from ..conftest import HOSTILE, RunBuilder
from .chromium import running

#: Text with an order to a terminal and one that reverses the text after it.
ORDERS = "plain \x1b[31mred \u202edesrever"
ARABIC = "اكتب فقرة قصيرة عن الطحن"
#: What is said when a budget has ended a run.
SPENT = "the budget of 500 tokens is spent (512): raise it with --set budget.tokens=... and run again"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def chat(number: int, answer: str) -> list[dict[str, Any]]:
    call = {"name": "weather", "arguments": json.dumps({"city": "Oslo", "day": number})}
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"What is the weather on day {number}?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": f"I look day {number} up.",
            "tool_calls": [{"id": "c1", "type": "function", "function": call}],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "c1", "content": f"{number} degrees"},
        {"role": "assistant", "content": answer},
    ]


class BrowsedRun(RunBuilder):
    """A run of one round. ``least``: the lowest ``n`` that is kept. ``voice``: a word of all answers."""

    def fill(self, least: int, voice: str) -> RunDirectory:
        answers = [f"It is {number} degrees, and I say it softly." for number in range(20)]
        answers[1:5] = [HOSTILE, ORDERS, ARABIC, "x" * 1_000_000]
        rows = [{"messages": chat(n, answers[n]), "tools": json.dumps([TOOL]), "n": n} for n in range(20)]
        self.source("chats", [*rows, *({**row, "n": row["n"] + 100} for row in rows[10:14])])
        self.unique_chats()
        self.kept_chats(least)
        self.source(
            "tasks",
            [{"prompt": f"Add {number} and 1, and explain each step of the sum."} for number in range(9)],
        )
        self.answered(voice)
        self.judged(voice)
        models = {
            name: {"engine": "synthetic", "path": name, "digest": name, "adapter": None}
            for name in ("base", "student")
        }
        self.run.write_plan(
            1, {"round": 1, "steps": self.steps, "models": models, "versions": {"gristmill": "0.1.0"}}
        )
        self.run.write_spec(f"gristmill: 1\nname: browsed\nbudget: {{tokens: 500}}\n# least: {least}\n")
        self.run.write_seconds(9.0, "budget", SPENT)
        return self.run

    def unique_chats(self) -> None:
        rows = self.tables["chats"]
        kept = np.arange(rows.num_rows) < 20
        ids = rows["_id"].to_pylist()
        like = [None if good else ids[place - 10] for place, good in enumerate(kept)]
        result = TableResult(
            kept=kept, rule="exact_duplicate", score=np.ones(rows.num_rows), duplicate_of=like
        )
        self.add_table("unique", "dedup: exact", "chats", from_table_result(rows, result))

    def kept_chats(self, least: int) -> None:
        rows = self.tables["unique"]
        result = TableResult(kept=np.asarray(rows["n"]) >= least, rule=[f"n >= {least}"] * rows.num_rows)
        params = {"keep": f"n >= {least}"}
        self.add_table("kept", "keep", "unique", from_table_result(rows, result), str(least), params)

    def answered(self, voice: str) -> None:
        """Each task answered; the last one fails."""
        tasks = self.tables["tasks"]
        rows = tasks.to_pylist()
        outcomes: list[list[Outcome]] = [
            [Kept({"response": f"The sum is {number + 1}, as I say {voice}."})] for number in range(len(rows))
        ]
        outcomes[-1] = [Failed("the server said: no")]
        fingerprint = self.fingerprint(f"answered {voice}", 1)
        table = from_outcomes(tasks, rows, outcomes, fingerprint=fingerprint, makes_rows=True, types={})
        self.add_table("answered", "generate: respond", "tasks", table, voice)

    def judged(self, voice: str) -> None:
        tasks = self.tables["tasks"]
        after, before = np.array([1.0] * 4 + [0.0] * 5), np.array([0.0] * 3 + [1.0] * 2 + [0.0] * 4)
        columns = {
            "response": pa.array([f"Student {n} answers {voice}." for n in range(9)]),
            "against_response": pa.array([f"Base {n} answers dryly." for n in range(9)]),
            "strict": pa.array(after),
            "against_strict": pa.array(before),
            "gain": pa.array(after - before),
        }
        summary = {
            "n": 9,
            "model": {"strict": float(after.mean())},
            "against": {"strict": float(before.mean())},
            "gain": {"metric": "strict", "mean": 0.22, "ci_low": -0.1, "ci_high": 0.5},
        }
        table = from_table_result(tasks, TableResult(columns=columns))
        self.add_table("verdict", "evaluate: constraints", "tasks", table, voice, summary=summary)
        self.steps["verdict"]["models"] = {"model": ["student"], "against": ["base"]}

    def add_table(
        self,
        name: str,
        operator: str,
        source: str,
        table: pa.Table,
        version: str = "",
        params: dict[str, Any] | None = None,
        summary: dict[str, Any] | None = None,
    ) -> None:
        self.add(
            name,
            operator,
            table,
            fingerprint=self.fingerprint(f"{name} {version}".strip(), 1),
            inputs=[source],
            rows_in=self.tables[source].num_rows,
            params=params,
            summary=summary,
        )


@pytest.fixture(scope="session")
def browsed_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return BrowsedRun(tmp_path_factory.mktemp("runs") / "browsed").fill(5, "softly")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The same with another condition and other answers."""
    return BrowsedRun(tmp_path_factory.mktemp("runs") / "other").fill(8, "loudly")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The debugging address of a Chromium."""
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found
