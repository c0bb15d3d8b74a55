"""Thoughts and calls in vLLM: made by the real engine, and read by its own parsers."""

from __future__ import annotations

import json

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Engine, ModelWeights

from .conftest import answers, ask

pytestmark = pytest.mark.engine

THOUGHT = r"<think>\n[a-z ]{12,20}\n</think>\n\n[a-z]{3,6}"


def test_what_the_model_thought_is_apart(shared_vllm: Engine) -> None:
    whole, cut = answers(
        shared_vllm,
        ask("Say a word.", regex=THOUGHT, max_tokens=48),
        ask("Say a word.", 1, regex=THOUGHT, max_tokens=6),
    )
    assert whole.reasoning is not None
    assert 6 <= len(whole.reasoning) <= 20
    assert 3 <= len(whole.text) <= 6
    assert "think" not in whole.text
    assert (cut.text, cut.finish, cut.cut_thinking) == ("", "length", True)


def test_its_own_parsers_read_calls(weights: ModelWeights) -> None:
    from transformers import AutoTokenizer

    from gristmill.pipelines.engines.vllm_tools import tool_parser

    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    tools = json.dumps([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}])
    called = '<tool_call>\n{"name": "look", "arguments": {"at": "Ulm"}}\n</tool_call>'
    read = tool_parser("hermes", tokenizer)
    assert read(f"I look.\n{called}", tools) == ("I look.", [{"name": "look", "arguments": '{"at": "Ulm"}'}])
    assert read("No call.", tools) == ("No call.", [])
    assert read("<tool_call>{broken", tools) == ("<tool_call>{broken", [])
    assert read(called, "not even JSON") == (called, [])
    pythonic = tool_parser("pythonic", tokenizer)
    assert pythonic('[look(at="Ulm")]', tools)[1] == [{"name": "look", "arguments": '{"at": "Ulm"}'}]
    with pytest.raises(ModelError, match="vLLM has none of the name 'herms'; did you mean 'hermes'"):
        tool_parser("herms", tokenizer)
    with pytest.raises(ModelError, match="'mistral' does not fit the model's tokenizer"):
        tool_parser("mistral", tokenizer)
