"""Rows of models that think or call tools: the answer alone is judged, and nothing of the rest is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.inference import Completion, Request, ToolCall
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.contracts.rows import messages_of, reasoned_messages_of
from gristmill.datagen.evaluate.answers import EvaluateAnswers
from gristmill.datagen.generate.respond import Respond
from gristmill.datagen.generate.template import Template
from gristmill.pipelines.run.outcomes import from_outcomes

CALL: ToolCall = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "Ulm"}'}}
LOOK = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
ASKED: dict[str, Any] = {"_id": "a", "prompt": "2 + 2?"}


class Thinker:
    """An engine that answers each request with the next of these."""

    capabilities = frozenset({"seed", "stop", "tools"})
    vocab_size = None

    def __init__(self, *said: dict[str, Any]) -> None:
        self.said = list(said)
        self.seen: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.seen += requests
        return [self._next(request) for request in requests]

    def _next(self, request: Request) -> Completion:
        told = {"text": "", "finish": "stop", **self.said.pop(0)}
        return Completion(request.id, tokens=(1, 2), prompt_tokens=3, **told)

    async def close(self) -> None:
        return None


def made(operator: Any, context: Any, row: dict[str, Any], *said: dict[str, Any]) -> Any:
    context.engines["base"] = Thinker(*said)
    (outcomes,) = asyncio.run(operator.open(context)([row]))
    return outcomes[0] if len(outcomes) == 1 else outcomes


def test_a_thought_is_a_column_of_its_own(context: Any) -> None:
    kept = made(Respond(model="base"), context, ASKED, {"text": "4", "reasoning": "two and two"})
    assert (kept.row["response"], kept.row["reasoning"]) == ("4", "two and two")
    plain = made(Respond(model="base"), context, ASKED, {"text": "4"})
    assert "reasoning" not in plain.row
    again = made(Respond(model="base"), context, {**ASKED, "reasoning": "of before"}, {"text": "4"})
    assert again.row["reasoning"] is None


def test_a_model_that_thinks_until_the_end_gives_no_answer(context: Any) -> None:
    cut = made(Respond(model="base"), context, ASKED, {"reasoning": "two and", "finish": "length"})
    assert isinstance(cut, Filtered)
    assert cut.rule == "truncated_thinking"
    assert cut.row["reasoning"] == "two and"
    failed = made(
        Template(model="base", template="{{ prompt }}"), context, ASKED,
        {"reasoning": "two and", "finish": "length"},
    )  # fmt: skip
    assert isinstance(failed, Failed)
    assert "thought until max_tokens was reached" in failed.error


def test_a_check_sees_the_answer_alone(context: Any) -> None:
    """The number of the thought is right, that of the answer is not."""
    respond = Respond(model="base", check={"verify": "number"})
    row = {**ASKED, "answer": "4"}
    kept = made(respond, context, row, {"text": "It is 5.", "reasoning": "\\boxed{4}"})
    assert (kept.row["passed"], kept.row["found"]) == (False, "5")


def test_a_parser_sees_the_answer_alone(context: Any) -> None:
    template = Template(model="base", template="{{ prompt }}", parser={"kind": "code", "column": "response"})
    draft = "```python\ndraft = 1\n```"
    kept = made(template, context, ASKED, {"text": "```python\nfinal = 1\n```", "reasoning": draft})
    assert kept.row["response"].strip() == "final = 1"
    assert kept.row["reasoning"] == draft


@pytest.mark.parametrize(
    ("column", "named", "wanted"),
    [("verdict", None, "of the answer"), ("verdict", "why", "of the answer"), ("response", None, "new")],
)
def test_a_judge_s_thought_does_not_replace_that_of_the_answer(
    column: str, named: str | None, wanted: str, context: Any
) -> None:
    judge = Template(
        model="base", template="{{ prompt }}", parser={"kind": "text", "column": column}, reasoning=named
    )
    row = {**ASKED, "response": "4", "reasoning": "of the answer"}
    kept = made(judge, context, row, {"text": "yes", "reasoning": "new"})
    assert {**row, **kept.row}["reasoning"] == wanted
    assert kept.row.get("why") == (None if named is None else "new")
    assert named is None or named in judge.types()


def test_a_new_prompt_has_no_thought_of_the_old_answer(context: Any) -> None:
    template = Template(model="base", template="{{ prompt }}", parser={"kind": "text", "column": "prompt"})
    row = {**ASKED, "response": "4", "reasoning": "old", "tool_calls": [CALL]}
    kept = made(template, context, row, {"text": "3 + 3?", "reasoning": "new"})
    assert (kept.row["reasoning"], kept.row["tool_calls"]) == (None, None)


@pytest.mark.parametrize("keep", [False, True])
def test_messages_keep_the_thought_where_asked(keep: bool, context: Any) -> None:
    row = {"_id": "a", "messages": [{"role": "user", "content": "2 + 2?"}]}
    said = {"text": "4", "reasoning": "two and two"}
    turn = {"role": "assistant", "content": "4", **({"reasoning_content": "two and two"} if keep else {})}
    kept = made(Respond(model="base", keep_reasoning=keep), context, row, said)
    assert kept.row["messages"][-1] == turn
    template = Template(model="base", template="{{ 'Why?' }}", conversation=True, keep_reasoning=keep)
    kept = made(template, context, {"_id": "a", "messages": []}, said)
    assert kept.row["messages"][-1] == turn


def test_what_is_kept_of_a_thought_needs_a_conversation() -> None:
    with pytest.raises(ValidationError, match="it goes with `conversation: true`"):
        Template(model="base", template="{{ prompt }}", keep_reasoning=True)


def test_judges_see_no_thought_and_training_does() -> None:
    row = {"prompt": "2 + 2?", "response": "4", "reasoning": "hm"}
    answer = {"role": "assistant", "content": "4"}
    thought = {**answer, "reasoning_content": "hm"}
    assert messages_of(row)[-1] == answer
    assert reasoned_messages_of(row)[-1] == thought
    talk = {"messages": [{"role": "user", "content": "2 + 2?"}, thought]}
    assert messages_of(talk)[-1] == answer
    assert reasoned_messages_of(talk)[-1] == thought
    assert reasoned_messages_of({**row, "response": None})[-1]["role"] == "user"


def test_an_evaluated_model_that_never_answers_is_wrong_and_not_left_out(context: Any) -> None:
    verdict = EvaluateAnswers(model="base", tasks="t", check={"verify": "number"})
    cut = made(
        verdict, context, {**ASKED, "answer": "4"}, {"reasoning": "4", "finish": "length"}
    )  # fmt: skip
    assert isinstance(cut, Kept)
    assert cut.row["score"] == 0.0


TOOLS: list[Any] = [
    LOOK,
    {"type": "function", "function": LOOK},
    {"type": "function", "function": {**LOOK, "strict": None}},
]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("as_text", [False, True])
def test_tools_come_from_a_column(tool: Any, as_text: bool, context: Any) -> None:
    row = {**ASKED, "tools": json.dumps([tool]) if as_text else [tool]}
    kept = made(Respond(model="base", tools="tools"), context, row, {"tool_calls": (CALL,)})
    assert isinstance(kept, Kept)
    assert (kept.row["response"], kept.row["tool_calls"]) == (None, [CALL])
    asked = json.loads(context.engines["base"].seen[0].tools)
    assert asked[0]["function"]["name"] == "look"
    assert made(Respond(model="base", tools="tools"), context, {**ASKED, "tools": None}, {"text": "4"}).row
    assert context.engines["base"].seen[0].tools is None


def test_tools_come_from_the_file(context: Any) -> None:
    respond = Respond.model_validate({"model": "base", "tools": [LOOK]})
    assert respond.needs()["model"] >= {"tools"}
    said = {"text": "I look.", "tool_calls": (CALL,)}
    row = {"_id": "a", "messages": [{"role": "user", "content": "Weather?"}]}
    kept = made(respond, context, row, said)
    assert kept.row["response"] == "I look."
    assert kept.row["messages"][-1] == {"role": "assistant", "content": "I look.", "tool_calls": [CALL]}
    offered = [{"type": "function", "function": LOOK}]
    assert json.loads(context.engines["base"].seen[0].tools) == json.loads(kept.row["tools"]) == offered
    assert respond.types()["tools"] == pa.string()
    with pytest.raises(ValidationError, match="no function with a name"):
        Respond.model_validate({"model": "base", "tools": [{"parameters": {}}]})


def test_tools_of_another_column_are_in_the_column_that_exports_read(context: Any) -> None:
    respond = Respond(model="base", tools="functions")
    kept = made(respond, context, {**ASKED, "functions": [LOOK]}, {"tool_calls": (CALL,)})
    assert json.loads(kept.row["tools"]) == [{"type": "function", "function": LOOK}]
    without = made(respond, context, {**ASKED, "functions": None}, {"text": "4"})
    assert without.row["tools"] is None
    assert "tools" not in made(Respond(model="base", tools="tools"), context, ASKED, {"text": "4"}).row


def test_a_column_that_holds_no_tools_fails_its_row(context: Any) -> None:
    for given, reason in (("{", "not JSON"), ([{"a": 1}], "no function with a name"), ("7", "no list")):
        row = {**ASKED, "tools": given}
        failed = made(Respond(model="base", tools="tools"), context, row, {"text": "4"})
        assert isinstance(failed, Failed)
        assert reason in failed.error


def test_a_conversation_goes_on_after_a_call(context: Any) -> None:
    talk = [
        {"role": "user", "content": "Weather?", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "content": "12 C", "tool_call_id": "c", "tool_calls": None},
    ]
    kept = made(Respond(model="base"), context, {"_id": "a", "messages": talk}, {"text": "12 degrees."})
    asked = context.engines["base"].seen[0].messages
    assert asked == (
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [CALL]},
        {"role": "tool", "content": "12 C", "tool_call_id": "c"},
    )
    assert kept.row["messages"] == [*asked, {"role": "assistant", "content": "12 degrees."}]


def test_an_operator_that_needs_a_text_says_that_a_tool_was_called(context: Any) -> None:
    failed = made(
        Template(model="base", template="{{ prompt }}"), context, ASKED, {"tool_calls": (CALL,)}
    )  # fmt: skip
    assert isinstance(failed, Failed)
    assert "the model called a tool (look) and did not answer" in failed.error


def test_calls_have_one_type_in_every_part(context: Any) -> None:
    respond = Respond(model="base", tools="tools")
    rows = [{**ASKED, "tools": [LOOK]}]
    kept = made(respond, context, rows[0], {"tool_calls": (CALL,)})
    table = from_outcomes(
        pa.Table.from_pylist([{**ASKED, "_parents": []}]), rows, [[kept]],
        fingerprint="f", makes_rows=True, types=respond.types(),
    )  # fmt: skip
    assert table.schema.field("tool_calls").type == respond.types()["tool_calls"]
    assert table["tool_calls"].to_pylist() == [[CALL]]
