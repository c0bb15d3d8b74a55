"""What has no text is an error for whoever needs one, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gristmill.contracts.asking import ask
from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request, Sampling, ToolCall

CALL: ToolCall = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


class Says:
    """An engine with one answer."""

    capabilities = frozenset[str]()
    vocab_size = None

    def __init__(self, completion: Completion) -> None:
        self.completion = completion

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [self.completion for _ in requests]

    async def close(self) -> None:
        return None


def asked(completion: Completion, *, whole: bool = False) -> Completion | EngineError:
    request = Request("r", 0, Sampling(), messages=({"role": "user", "content": "?"},))
    (answer,) = asyncio.run(ask(Says(completion), [request], whole=whole))  # type: ignore[arg-type]
    return answer


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (
            Completion("r", "", (1,), "stop", 1, tool_calls=(CALL,)),
            r"called a tool \(look\) and did not answer",
        ),
        (
            Completion("r", "", (1,), "length", 1, reasoning="hm"),
            "thought until max_tokens .* raise max_tokens",
        ),
        (Completion("r", " \n", (1,), "stop", 1, reasoning="hm"), "thought and ended without an answer"),
    ],
)
def test_an_answer_without_a_text_fails_unless_it_is_asked_for(completion: Completion, reason: str) -> None:
    error = asked(completion)
    assert isinstance(error, EngineError)
    assert not error.retryable
    with pytest.raises(EngineError, match=reason):
        raise error
    assert asked(completion, whole=True) is completion


def test_a_text_beside_calls_or_a_thought_is_an_answer() -> None:
    for completion in (
        Completion("r", "4", (1,), "stop", 1, reasoning="hm"),
        Completion("r", "I look.", (1,), "stop", 1, tool_calls=(CALL,)),
        Completion("r", "", (1,), "stop", 1),
    ):
        assert asked(completion) is completion


@pytest.mark.parametrize("field", ["reasoning", "tool_calls"])
def test_what_cannot_be_stored_is_an_error_wherever_it_is(field: str) -> None:
    broken = {**CALL, "function": {"name": "look", "arguments": "\ud800"}}
    said = {"reasoning": "\ud800"} if field == "reasoning" else {"tool_calls": (broken,)}
    error = asked(Completion("r", "4", (1,), "stop", 1, **said), whole=True)  # type: ignore[arg-type]
    assert isinstance(error, EngineError)
    assert "lone surrogate" in str(error)
