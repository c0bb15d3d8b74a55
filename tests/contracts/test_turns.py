from __future__ import annotations

from typing import Any

import pytest

from gristmill.contracts.turns import is_turns, text_of, turns_from, typed


def call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"id": None, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


@pytest.mark.parametrize(
    "given",
    [
        [{"name": "f", "arguments": {"b": 1, "a": None}}],
        [{"function": {"name": "f", "arguments": {"b": 1, "a": None}}}],
        [{"type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": null}'}}],
    ],
)
def test_calls_of_every_form_become_openais_with_their_arguments_as_text(given: list[Any]) -> None:
    """The order of the arguments stays: a template shows it to the model."""
    turn = {"role": "assistant", "content": None, "tool_calls": given}
    assert typed(turn)["tool_calls"] == [call("f", '{"b": 1, "a": null}')]


def test_texts_in_parts_become_one_text_and_others_stay() -> None:
    parts = [{"type": "text", "text": "What "}, {"type": "text", "text": "is it?"}]
    assert typed({"role": "user", "content": parts})["content"] == "What is it?"
    image = [*parts, {"type": "image_url", "image_url": {"url": "a.png"}}]
    assert typed({"role": "user", "content": image})["content"] == image


def test_sharegpts_function_form_becomes_numbered_calls_and_tool_turns() -> None:
    said = [
        {"from": "human", "value": "Weather in Ulm and Bonn?"},
        {"from": "function_call", "value": '[{"name": "w", "arguments": {"city": "Ulm"}}, {"name": "w"}]'},
        {"from": "observation", "value": "12"},
        {"from": "observation", "value": "14"},
        {"from": "gpt", "value": "12 and 14.", "weight": 1},
    ]
    assert turns_from(said) == [
        {"role": "user", "content": "Weather in Ulm and Bonn?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("w", '{"city": "Ulm"}', id="call_1"), call("w", None, id="call_2")],
        },
        {"role": "tool", "content": "12", "tool_call_id": "call_1"},
        {"role": "tool", "content": "14", "tool_call_id": "call_2"},
        {"role": "assistant", "content": "12 and 14.", "weight": 1},
    ]


def test_a_call_that_is_no_json_stays_the_text_that_it_is() -> None:
    assert turns_from([{"from": "function_call", "value": "w(Ulm)"}]) == [
        {"role": "assistant", "content": "w(Ulm)"}
    ]


@pytest.mark.parametrize("other", [None, [], "q", "[1]", [1], [{"content": "x"}], {"role": "user"}, "[" * 9])
def test_what_is_no_conversation_is_none(other: Any) -> None:
    assert not is_turns(other)
    assert turns_from(other) is None


def test_the_text_of_a_turn_has_its_calls() -> None:
    turn = {"role": "assistant", "content": "Let me look.", "tool_calls": [call("w", "{}")]}
    assert text_of(turn) == 'Let me look.\n{"name": "w", "arguments": "{}"}'
    assert text_of({"role": "assistant", "content": None}) == ""
