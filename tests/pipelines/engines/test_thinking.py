"""Thoughts and calls of models on this machine, with the templates that TRL ships and real tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Request, Sampling
from gristmill.contracts.thinking_markers import Markers
from gristmill.pipelines.engines import capabilities_of
from gristmill.pipelines.engines.answers import AnswerReader
from gristmill.pipelines.engines.options import ChatOptions, parse
from gristmill.pipelines.engines.prompts import Prompts
from gristmill.pipelines.engines.requests import check
from gristmill.pipelines.engines.tool_calls import hermes

TOOLS = json.dumps([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}])
ASKED = Request("r", 7, Sampling(), messages=({"role": "user", "content": "q1"},))


def prompts(
    path: Path, save: Callable[..., None], name: str, more: tuple[str, ...] = (), **options: Any
) -> Prompts:
    found = find_spec("trl")  # without importing it
    assert found is not None
    assert found.submodule_search_locations
    text = (Path(found.submodule_search_locations[0]) / "chat_templates" / f"{name}.jinja").read_text()
    save(path, template=text, end="<|im_end|>", more=["<|im_end|>", *more])
    return Prompts(path, 4000, template=parse("x", ChatOptions, options).template())


def written(made: Prompts, request: Request, text: str) -> Completion:
    """What is made of an answer with this text, special tokens included."""
    ids = tuple(made.tokenizer.encode(text, add_special_tokens=False))
    shown = made.tokenizer.decode(ids, skip_special_tokens=True)
    (tokens,) = made.tokens([request])
    reader = AnswerReader(made.tokenizer, made.markers, hermes)
    return reader.read(request, Completion("r", shown, ids, "stop", 3), begun=tokens.begun)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", "<think>\nhm\n</think>\n\na1<|im_end|>"),
        ("qwen3_5_think", "hm\n</think>\n\na1<|im_end|>"),  # its template opens the thought in the prompt
        ("deepseek_r1_distill", "hm\n</think>\n\na1"),
        ("qwen2_5", "<think>hm</think>a1<|im_end|>"),  # knows of no thoughts: a student that learned to
    ],
)
def test_a_thought_is_apart_from_its_answer(
    name: str, text: str, tmp_path: Path, save_tokenizer: Any
) -> None:
    made = prompts(tmp_path, save_tokenizer, name)
    found = written(made, ASKED, text)
    assert (found.text, found.reasoning) == ("a1", "hm")


def test_a_thought_that_the_prompt_opened_and_nothing_closed_is_cut(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    found = written(prompts(tmp_path, save_tokenizer, "qwen3_5_think"), ASKED, "I wonder")
    assert (found.text, found.reasoning, found.cut_thinking) == ("", "I wonder", True)
    found = written(prompts(tmp_path, save_tokenizer, "qwen3"), ASKED, "I know")
    assert (found.text, found.reasoning, found.cut_thinking) == ("I know", None, False)


def test_markers_of_special_tokens_are_seen_though_decoding_leaves_them_out(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    special = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>")
    made = prompts(tmp_path, save_tokenizer, "gptoss", special)
    said = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>a1<|return|>"
    assert (
        made.tokenizer.decode(made.tokenizer.encode(said), skip_special_tokens=True)
        == "analysishmassistantfinala1"
    )
    found = written(made, ASKED, said)
    assert (found.text, found.reasoning) == ("a1", "hm")
    cut = written(made, ASKED, "<|channel|>analysis<|message|>hm")
    assert (cut.text, cut.reasoning) == ("", "hm")


def test_the_markers_of_a_model_may_be_given(tmp_path: Path, save_tokenizer: Any) -> None:
    made = prompts(tmp_path, save_tokenizer, "qwen2_5", thinking={"markers": ["(", ")"]})
    assert made.markers == Markers("(", ")")
    assert written(made, ASKED, "(hm) a1").reasoning == "hm"
    with pytest.raises(ModelError, match="a marker is empty"):
        parse("x", ChatOptions, {"thinking": {"markers": ["(", " "]}})


def test_only_an_assistant_s_turn_has_a_thought(tmp_path: Path, save_tokenizer: Any) -> None:
    made = prompts(tmp_path, save_tokenizer, "qwen3")
    said = "<think>hm</think>a1"
    for request in (
        replace(ASKED, messages=None, prompt="q1"),
        replace(ASKED, opening="user"),
    ):
        assert AnswerReader(made.tokenizer, made.markers).read(
            request, Completion("r", said, (1,), "stop", 3)
        ).text == said  # fmt: skip


@pytest.mark.parametrize(
    ("name", "thinking", "ending"),
    [
        ("qwen3", False, "assistant\n<think>\n\n</think>\n\n"),
        ("qwen3", True, "assistant\n"),
        ("qwen3", "auto", "assistant\n"),
        ("qwen3_5_think", False, "assistant\n<think>\n\n</think>\n\n"),
        ("qwen3_5_think", {"enabled": True}, "assistant\n<think>\n"),
    ],
)
def test_the_template_is_told_whether_to_think(
    name: str, thinking: Any, ending: str, tmp_path: Path, save_tokenizer: Any
) -> None:
    made = prompts(tmp_path, save_tokenizer, name, thinking=thinking)
    (tokens,) = made.tokens([ASKED])
    assert made.tokenizer.decode(tokens.prompt).endswith(ending)
    assert tokens.begun == ending.endswith("<think>\n")


def test_a_template_that_cannot_be_told_is_refused(tmp_path: Path, save_tokenizer: Any) -> None:
    with pytest.raises(
        ModelError, match=r"thinking: false: the model's chat template has no variable enable_"
    ):
        prompts(tmp_path, save_tokenizer, "qwen2_5", thinking=False)
    made = prompts(tmp_path, save_tokenizer, "qwen3", chat_template_kwargs={"enable_thinking": False})
    assert made.tokenizer.decode(made.tokens([ASKED])[0].prompt).endswith("</think>\n\n")


def test_the_template_writes_tools_and_earlier_calls(tmp_path: Path, save_tokenizer: Any) -> None:
    made = prompts(tmp_path, save_tokenizer, "qwen2_5")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "Ulm"}'}}
    talk: Any = (
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "12 C", "tool_call_id": "c"},
    )
    plain, calling = made.tokens([replace(ASKED, messages=talk), replace(ASKED, messages=talk, tools=TOOLS)])
    said = made.tokenizer.decode(calling.prompt)
    assert '{"name": "look", "arguments": {"at": "Ulm"}}' in said
    assert "<tool_response>\n12 C\n</tool_response>" in said
    assert '"name": "look", "parameters"' in said
    assert '"parameters"' not in made.tokenizer.decode(plain.prompt)


CALLED = '<tool_call>\n{"name": "look", "arguments": {"at": "Ulm", "n": 1}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "answer", "calls"),
    [
        (CALLED, "", [("look", {"at": "Ulm", "n": 1})]),
        (f"I look.\n{CALLED}\n{CALLED}", "I look.", [("look", {"at": "Ulm", "n": 1})] * 2),
        ('<tool_call>{"name": "look"}', "", [("look", {})]),
        (f"<think>\nhm\n</think>\n\n{CALLED}", "", [("look", {"at": "Ulm", "n": 1})]),
        ("<tool_call>{broken}</tool_call>", "<tool_call>{broken}</tool_call>", []),
        ("<tool_call>[1]</tool_call>", "<tool_call>[1]</tool_call>", []),
        ("No call.", "No call.", []),
    ],
)
def test_calls_are_read(
    text: str, answer: str, calls: list[Any], tmp_path: Path, save_tokenizer: Any
) -> None:
    made = prompts(tmp_path, save_tokenizer, "qwen2_5")
    found = written(made, replace(ASKED, tools=TOOLS), text)
    assert found.text == answer
    given = found.tool_calls or ()
    assert [(each["function"]["name"], json.loads(each["function"]["arguments"])) for each in given] == calls
    assert len({each["id"] for each in given}) == len(given)
    assert found == written(made, replace(ASKED, tools=TOOLS), text)  # the same ids again
    without = written(made, ASKED, text)
    assert without.tool_calls is None


def test_tools_need_an_engine_that_reads_calls() -> None:
    for kind in ("vllm", "transformers"):
        assert "tools" not in capabilities_of(kind)
        assert "tools" in capabilities_of(kind, {"tool_parser": "hermes"})
    request = replace(ASKED, tools=TOOLS)
    with pytest.raises(EngineError, match="request 'r' needs tools, which the engine 'vllm' does not offer"):
        check([request], capabilities_of("vllm"), "vllm")
    with pytest.raises(EngineError, match="tools require a conversation"):
        check([replace(request, messages=None, prompt="x")], frozenset({"tools", "seed"}), "vllm")
