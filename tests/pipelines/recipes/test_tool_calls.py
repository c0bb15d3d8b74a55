"""The recipe tool_calls with a scripted endpoint; its tools are really called in the sandbox."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.view.silent import SilentView

from ...endpoint import Reply, Server

NAMES = ["alpha", "beta", "gamma", "delta"]
TOOLS = "".join(
    f'''
def {name}(number: int) -> int | None:
    """Double a number, for {name}.

    Args:
        number: The number.
    """
    print("noise")
    if number < 0:
        raise ValueError("below zero")
    return None if number == 0 else 2 * number
'''
    for name in NAMES
)
#: What the endpoint does with the first queries of one call; with all others it does right.
WRONG = [
    "number as text",
    "no such tool",
    "no JSON",
    "raises",
    "no result",
    "twice",
    "calls again",
    "judged badly",
]


class Endpoint:
    """Plays the writer of queries, the assistant, the judge and the user.

    A query has a number and names its tools. Those in `WRONG` are called wrongly, and one query for several
    calls gets the same call twice, one for no call is answered by a call. The first conversation first calls
    in vain; the second has no call, and the third never ends.
    """

    def __init__(self) -> None:
        self.queries = 0
        self.wrong: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self.chats: dict[str, int] = {}
        self._lock = Lock()

    def reply(self, number: int, body: dict[str, Any]) -> Reply:
        with self._lock:
            said = self.said(body["messages"], [tool["function"]["name"] for tool in body.get("tools", [])])
        message: dict[str, Any] = {"content": said}
        choice: dict[str, Any] = {"finish_reason": "stop", "message": message}
        if isinstance(said, list):
            functions = [{"name": name, "arguments": arguments} for name, arguments in said]
            calls = [{"id": f"c{place}", "function": each} for place, each in enumerate(functions)]
            choice = {"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}
        if isinstance(said, str) and said in "15":
            likely = {said: 0.95, "5" if said == "1" else "1": 0.05}
            top = [{"token": token, "logprob": math.log(share)} for token, share in likely.items()]
            choice["logprobs"] = {"content": [{"logprob": top[0]["logprob"], "top_logprobs": top}]}
        return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    def said(self, messages: list[dict[str, Any]], offered: list[str]) -> str | list[tuple[str, str]]:
        first, last = messages[0]["content"], messages[-1]["content"]
        if last.startswith("An assistant can call"):
            return self.query(last)
        if last.startswith("Rate a response"):
            bad = self.wrong.get(query_in(last)) == "judged badly"
            return "1" if bad else "5"
        if first.startswith("You play a person"):
            return self.user(first, messages[1:])
        return self.assistant(messages, offered)

    def query(self, prompt: str) -> str:
        self.queries += 1
        needed = json.loads(prompt.split("\n\n")[1])
        assert ("two calls" in prompt) == (len(needed) == 2)
        names = " ".join(tool["function"]["name"] for tool in needed)
        different = " ".join(f"w{self.queries}x{place}" for place in range(8))
        return f"<query>{different} Q{self.queries:03d} {names} end</query>"

    def user(self, told: str, turns: list[dict[str, Any]]) -> str:
        goal = re.search(r"What you want:\n(.*)", told)
        assert goal is not None
        roles = ["user", "assistant"] * len(turns)
        assert [turn["role"] for turn in turns] == roles[: len(turns)]
        assert all("noise" not in turn["content"] for turn in turns)
        chat = self.chats.setdefault(query_in(goal[1]), len(self.chats))
        return "I have it. ###DONE###" if len(turns) > 1 and chat != 2 else f"Please: {goal[1]}"

    def assistant(self, messages: list[dict[str, Any]], offered: list[str]) -> str | list[tuple[str, str]]:
        asked = next(turn["content"] for turn in messages if turn["role"] == "user")
        query, talks = query_in(asked), asked.startswith("Please: ")
        names = asked.partition(query)[2].split()[:-1]
        told = messages[0]["content"]
        assert told.startswith("You help with the functions")
        if messages[-1]["role"] == "tool" and not messages[-1]["content"].startswith("Error"):
            if self.wrong.get(query) == "calls again":
                return [(names[0], '{"number": 1}')]
            return f"It gives {messages[-1]['content']}."
        right = [
            (name, json.dumps({"number": int(query[1:]) + 500 * place})) for place, name in enumerate(names)
        ]
        if talks:
            return self.in_chat(query, right, messages)
        kind = "none" if names[0] not in offered else "several" if len(names) > 1 else "one"
        self.seen[kind] += 1
        assert ("call none" in told) == (kind == "none")
        assert ("make all of them now" in told) == (kind == "several")
        if kind == "none":
            return [(offered[0], '{"number": 1}')] if self.seen[kind] == 1 else "I cannot do that."
        if kind == "several":
            return [right[0], right[0]] if self.seen[kind] == 1 else right
        how = dict(enumerate(WRONG, 1)).get(self.seen[kind], "")
        self.wrong[query] = how
        wrong = {
            "number as text": [(names[0], '{"number": "1"}')],
            "no such tool": [("omega", '{"number": 1}')],
            "no JSON": [(names[0], '{"number": ')],
            "raises": [(names[0], '{"number": -1}')],
            "no result": [(names[0], '{"number": 0}')],
            "twice": [*right, (names[0], '{"number": 7}')],
        }
        return wrong.get(how, right)

    def in_chat(
        self, query: str, right: list[tuple[str, str]], messages: list[dict[str, Any]]
    ) -> str | list[tuple[str, str]]:
        assert messages[0]["role"] == "system"
        if self.chats[query] == 1:
            return "I would rather not."
        in_vain = self.chats[query] == 0 and messages[-1]["role"] == "user"
        return [(right[0][0], '{"number": -5}')] if in_vain else right


def query_in(text: str) -> str:
    found = re.search(r"\bQ\d{3}\b", text)
    assert found is not None, text
    return found[0]


def test_tool_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Callable[..., Server]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tools.py").write_text(TOOLS)
    served = {"engine": "openai", "url": listen(Endpoint().reply).url, "model": "m"}
    overrides = [
        f"models.teacher={json.dumps(served)}",
        "vars.tools=tools.py",
        "vars.queries=36",
        "vars.turns=4",
        "steps.student={score: length, from: chats}",
    ]
    run = gristmill.run("tool_calls", tmp_path / "run", overrides=overrides, observer=SilentView(sys.stderr))
    only_calls_that_pass_every_check_become_rows(run)
    a_simulated_user_gets_what_the_verified_calls_gave(run, tmp_path / "run" / "exports")


def kinds(run: Any, step: str) -> Counter[str]:
    return Counter(run[step].to_arrow()["kind"].to_pylist())


def only_calls_that_pass_every_check_become_rows(run: Any) -> None:
    asked = kinds(run, "distinct")
    assert asked.total() == 36
    assert asked["one"] > len(WRONG) + 2
    assert asked["several"] > 2
    assert asked["none"] > 1
    verdicts = Counter(run["checked"].to_arrow()["verdict"].to_pylist())
    assert verdicts["unknown_tool"] == verdicts["not_json"] == verdicts["arguments"] == 1
    assert verdicts["failed"] == verdicts["no_result"] == 1
    assert verdicts["no_calls"] == asked["none"] - 1
    fits, counted, ran = (kinds(run, step) for step in ("fits", "counted", "ran"))
    assert asked - fits == {"one": 3}
    assert fits - counted == {"one": 1, "several": 1, "none": 1}
    assert counted - ran == {"one": 2}
    assert kinds(run, "calling") - kinds(run, "ends") == {"one": 1}
    assert kinds(run, "shown") - kinds(run, "good") == {"one": 1}
    for row in run["good"].to_arrow().to_pylist():
        offered = [tool["function"]["name"] for tool in json.loads(row["tools"])]
        assert len(offered) == 3
        assert offered == sorted(offered)
        roles = [turn["role"] for turn in row["messages"]]
        answers = {"one": ["tool"], "several": ["tool", "tool"], "none": []}[row["kind"]]
        calls = ["assistant", *answers] if answers else []
        assert roles == ["user", *calls, "assistant"]
        number = int(query_in(row["query"])[1:])
        results = [turn["content"] for turn in row["messages"] if turn["role"] == "tool"]
        assert results == [str(2 * (number + 500 * place)) for place in range(len(answers))]


def a_simulated_user_gets_what_the_verified_calls_gave(run: Any, exports: Path) -> None:
    goals, chats = run["goals"].to_arrow().num_rows, run["chats"].to_arrow().to_pylist()
    over = sum(run[f"over_{turn}"].to_arrow().num_rows for turn in range(1, 5))
    assert over == goals - 1  # the third conversation goes on
    assert len(chats) == over - 1  # the second called nothing
    mended = [row for row in chats if row["masked_turns"]]
    assert len(mended) == 1
    roles = [turn["role"] for turn in mended[0]["messages"]]
    assert roles[:4] == ["user", "assistant", "tool", "assistant"]
    assert mended[0]["messages"][1]["weight"] == 0
    assert mended[0]["messages"][2]["content"] == "Error: ValueError: below zero"
    assert {row["messages"][-1]["role"] for row in chats} == {"assistant"}
    assert "DONE" not in json.dumps([row["messages"] for row in chats])
    lines = (exports / "dataset/data.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == run["good"].to_arrow().num_rows + len(chats)
    assert all(row["tools"][0]["type"] == "function" for row in rows)
    called = next(turn for turn in rows[0]["messages"] if turn.get("tool_calls"))
    assert isinstance(called["tool_calls"][0]["function"]["arguments"]["number"], int)
    shared = (exports / "sharegpt/data.jsonl").read_text().splitlines()
    spoken = [[turn["from"] for turn in json.loads(line)["conversations"]] for line in shared]
    assert ["human", "function_call", "observation", "gpt"] in spoken
    assert len(spoken) == len(rows) - len(mended)
