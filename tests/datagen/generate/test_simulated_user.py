"""A model that plays the user: what it sees of the conversation, and how the conversation goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.generate.simulated_user import SimulatedUser

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


class Player:
    """An engine that says one thing."""

    capabilities = frozenset({"seed", "stop"})
    vocab_size = None

    def __init__(self, text: str, finish: str = "stop") -> None:
        self.text, self.finish = text, finish
        self.seen: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.seen += requests
        return [Completion(each.id, self.text, (1,), self.finish, 7) for each in requests]

    async def close(self) -> None:
        return None


async def _applied(apply: Any, rows: list[dict[str, Any]]) -> Any:
    return await apply(rows)


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def said(context: Any, player: Player, rows: list[dict[str, Any]], **settings: Any) -> list[Any]:
    context.engines["user"] = player
    step = SimulatedUser(model="user", **settings)
    given = [{"_id": f"r{place}", "goal": "the weather in Ulm", **row} for place, row in enumerate(rows)]
    return [outcome for [outcome] in asyncio.run(_applied(step.open(context), given))]


def test_a_conversation_begins_with_the_user(context: Any) -> None:
    player = Player(" What is the weather? ")
    [kept] = said(context, player, [{"messages": None}], system="Help.")
    assert kept == Kept(
        {
            "said": "What is the weather?",
            "done": False,
            "sample": 0,
            "messages": [turn("system", "Help."), turn("user", "What is the weather?")],
        }
    )
    told, greeted = player.seen[0].messages or ()
    assert "the weather in Ulm" in told["content"]
    assert "###DONE###" in told["content"]
    assert greeted == turn("user", "Hello! How can I help you?")


def test_the_user_sees_no_tools(context: Any) -> None:
    talk = [
        turn("system", "Help."),
        turn("user", "Weather?"),
        turn("assistant", "Let me see.", tool_calls=[CALL]),
        turn("tool", "12", tool_call_id="c", is_error=True),
        turn("assistant", "12 degrees.", weight=0),
    ]
    player = Player("And tomorrow?")
    [kept] = said(context, player, [{"messages": talk}])
    assert (player.seen[0].messages or ())[1:] == (
        turn("user", "Hello! How can I help you?"),
        turn("assistant", "Weather?"),
        turn("user", "Let me see.\n\n12 degrees."),
    )
    assert kept.row["messages"] == [*talk, turn("user", "And tomorrow?")]


def test_the_user_ends_the_conversation(context: Any) -> None:
    talk = [turn("user", "Weather?"), turn("assistant", "12 degrees.")]
    [kept] = said(context, Player("Thanks! ###DONE###"), [{"messages": talk}])
    assert kept == Kept({"said": "Thanks! ###DONE###", "done": True, "sample": 0})
    [kept] = said(context, Player("###DONE###"), [{"messages": talk}], end="Bye")
    assert kept.row["done"] is False


@pytest.mark.parametrize(
    "last",
    [
        turn("user", "Weather?"),
        turn("tool", "12"),
        turn("assistant", "", tool_calls=[CALL]),
    ],
)
def test_a_conversation_that_waits_for_the_assistant_is_passed_on(context: Any, last: Any) -> None:
    player = Player("And now?")
    talk = [turn("user", "Weather?"), turn("assistant", "12 degrees.")]
    waiting, open_ = {"messages": [*talk, turn("user", "?"), last]}, {"messages": talk}
    first, second, third = said(context, player, [waiting, open_, waiting])
    assert first == third == Kept({"said": None, "done": False, "sample": 0})
    assert second.row["said"] == "And now?"
    assert len(player.seen) == 1


def test_what_cannot_go_on_is_filtered_or_fails(context: Any) -> None:
    [empty] = said(context, Player("  "), [{}])
    assert isinstance(empty, Filtered)
    assert empty.rule == "empty"
    [cut] = said(context, Player("What is", finish="length"), [{}])
    assert isinstance(cut, Filtered)
    assert cut.rule == "truncated"
    [wrong] = said(context, Player("Hi"), [{"messages": "no turns"}])
    assert isinstance(wrong, Failed)
    assert "no list of turns" in wrong.error


def test_the_plan_finds_a_template_that_lacks_a_column() -> None:
    step = SimulatedUser(model="user")
    step.check_columns(["goal"])
    with pytest.raises(DataError, match="goal"):
        step.check_columns(["query"])
    with pytest.raises(DataError):
        SimulatedUser(model="user", template="{% if %}").inspect()
    assert {"messages", "said", "done"} <= set(step.makes_columns(["goal"]) or ())
