"""Runs against a server that misbehaves: what is asked, what stops, what goes on, what is spent."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import BudgetReached, ModelError, SpecError
from gristmill.pipelines.run.events import Event, Notice

from ..engines.conftest import Reply, Server

FILE = """
gristmill: 1
name: served
{more}
models:
  served: {{engine: openai, url: "{url}", model: m{options}}}
steps:
  prompts: {{source: jsonl, path: "{folder}/prompts.jsonl"}}
  answers: {{generate: respond, from: prompts, model: served, max_tokens: 20}}
"""


def told(text: str, prompt_tokens: int = 10, completion_tokens: int = 10) -> Reply:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


Reply_ = Callable[[int, dict[str, Any]], Reply]


class Served:
    """A pipeline over a server whose replies the test decides, and may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reply: Reply_ = lambda number, body: told("fine")
        self.server = Server(lambda number, body: self.reply(number, body))
        self.notices: list[str] = []

    def run(self, rows: int = 64, more: str = "", **options: Any) -> gristmill.pipelines.api.Run:
        prompts = (json.dumps({"prompt": f"number {number}"}) + "\n" for number in range(rows))
        (self.folder / "prompts.jsonl").write_text("".join(prompts))
        file = self.folder / "served.yaml"
        said = "".join(f", {name}: {json.dumps(value)}" for name, value in options.items())
        file.write_text(FILE.format(url=self.server.url, folder=self.folder, options=said, more=more))
        return gristmill.run(file, self.folder / "run", observer=self)

    def on(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)

    @property
    def asked(self) -> Counter[str]:
        return Counter(body["messages"][0]["content"] for _, _, body in self.server.seen)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    with closing(made.server):
        yield made


def test_a_wrong_key_stops_before_the_second_micro_batch_and_the_same_command_goes_on(served: Served) -> None:
    served.reply = lambda number, body: (401, {}, {"error": {"message": "Incorrect API key provided"}})
    with pytest.raises(ModelError, match=r"answers: .*Incorrect API key provided"):
        served.run()
    assert len(served.server.seen) <= 16
    served.reply = lambda number, body: told("fine")
    run = served.run()
    assert run["answers"].store.ledger().kept == 64


def test_a_key_that_is_withdrawn_keeps_what_was_made(served: Served) -> None:
    withdrawn = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if number >= 40:
            withdrawn.set()
            return 401, {}, {"error": {"message": "this key was revoked"}}
        return told("fine")

    served.reply = reply
    with pytest.raises(ModelError, match="this key was revoked"):
        served.run(rows=200, concurrency=4)
    served.reply = lambda number, body: told("fine")
    assert served.run(rows=200, concurrency=4)["answers"].store.ledger().kept == 200


def test_a_refused_row_fails_alone_and_no_other_is_asked_twice(served: Served) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        if body["messages"][0]["content"] in ("number 3", "number 40"):
            return 400, {}, {"error": {"message": "flagged"}}
        return told("fine")

    served.reply = reply
    ledger = served.run()["answers"].store.ledger()
    assert (ledger.kept, ledger.failed) == (62, 2)
    assert set(served.asked.values()) == {1}


def test_a_budget_stops_issuing_when_what_is_in_flight_would_reach_it(served: Served) -> None:
    """Each micro-batch of 16 rows costs 320 tokens."""
    with pytest.raises(BudgetReached, match="tokens"):
        served.run(rows=320, more="budget: {tokens: 2000}")
    spent = 20 * len(served.server.seen)
    assert 2000 <= spent <= 2000 + 320


def test_a_budget_in_dollars_counts_what_was_thrown_away(served: Served) -> None:
    """A row costs 0.02 dollars, and every second answer is none and costs the same."""

    def reply(number: int, body: dict[str, Any]) -> Reply:
        usage = {"prompt_tokens": 10_000, "completion_tokens": 5_000}
        if served.asked[body["messages"][0]["content"]] == 1:
            return 200, {"retry-after": "0"}, {"choices": [], "usage": usage}
        return told("fine", 10_000, 5_000)

    served.reply = reply
    price = {"input": 1.0, "output": 2.0}
    with pytest.raises(BudgetReached, match=r"the budget of \$1.00 is spent \(\$1.28\)"):
        served.run(rows=320, more="budget: {usd: 1}", price=price)
    assert len(served.server.seen) == 64


def test_a_budget_in_dollars_requires_prices(served: Served) -> None:
    with pytest.raises(SpecError, match=r"models.served: .*budget.usd.*price: \{input:"):
        served.run(more="budget: {usd: 1}")


def test_the_run_says_that_tokens_are_counted(served: Served) -> None:
    choice = {"message": {"content": "fine"}, "finish_reason": "stop"}
    served.reply = lambda number, body: (200, {}, {"choices": [choice]})
    run = served.run(rows=4)
    assert run["answers"].store.usage().tokens > 0
    assert sum("reports no usage" in text for text in served.notices) == 1
