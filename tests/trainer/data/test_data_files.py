"""From files of other tools to labels: only what the assistant writes is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.rows import Row, messages_of
from gristmill.pipelines.sources.jsonl import Jsonl
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.losses.pairs import PairObjective

from .test_tool_calls import CALLING

TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]


@pytest.fixture
def encoder(tmp_path: Path, save_tokenizer: Callable[..., None]) -> ChatEncoder:
    save_tokenizer(tmp_path, template=CALLING)
    return ChatEncoder(tmp_path, train_on="assistant")


def rows(folder: Path, context: Any, *given: dict[str, Any]) -> list[Row]:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    found: list[dict[str, Any]] = pa.Table.from_batches(Jsonl(path=str(path)).read(context)).to_pylist()
    return found


def trained(encoder: ChatEncoder, row: Row) -> list[str]:
    return [encoder.show(each) for each in encoder.encode_turns(messages_of(row), tools=row.get("tools"))]


def test_a_sharegpt_file_with_functions(tmp_path: Path, context: Any, encoder: ChatEncoder) -> None:
    said = [
        ("system", "Be brief."),
        ("human", "weather?"),
        ("function_call", '{"name": "lookup", "arguments": {"city": "Ulm"}}'),
        ("observation", "12 C"),
        ("gpt", "12 degrees"),
    ]
    talk = [{"from": who, "value": value} for who, value in said]
    other = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    first, second = rows(
        tmp_path,
        context,
        {"conversations": talk, "tools": json.dumps(TOOLS)},
        {"conversations": other, "tools": ""},
    )
    assert trained(encoder, first) == ["<call>lookup city=Ulm<|end|>12 degrees<|end|>"]
    whole = encoder.tokenizer.decode(encoder.encode(messages_of(first), tools=first["tools"]).ids)
    assert whole.startswith('<|start|>tools [{"type": "function"')
    assert "<|start|>system\nBe brief.<|end|>" in whole
    assert trained(encoder, second) == ["hello<|end|>"]


def test_an_openai_file_with_tools_and_weights(tmp_path: Path, context: Any, encoder: ChatEncoder) -> None:
    """Its arguments are JSON text, and a turn with weight 0 is not trained on."""
    function = {"name": "lookup", "arguments": '{"city": "Ulm"}'}
    call = {"id": "c1", "type": "function", "function": function}
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "no idea", "weight": 0},
        {"role": "user", "content": "look!"},
        {"role": "assistant", "tool_calls": [call], "weight": 1},
        {"role": "tool", "content": "12 C", "tool_call_id": "c1"},
        {"role": "assistant", "content": "12 degrees"},
    ]
    row, none, ended = rows(
        tmp_path,
        context,
        {"messages": talk, "tools": TOOLS, "parallel_tool_calls": False},
        {"messages": talk[:2]},
        {"messages": [*talk[:4], *talk[4:5], {"role": "assistant", "content": "oops", "weight": 0}]},
    )
    assert trained(encoder, row) == ["<call>lookup city=Ulm<|end|>12 degrees<|end|>"]
    assert "no idea" in encoder.tokenizer.decode(encoder.encode(messages_of(row), tools=row["tools"]).ids)
    with pytest.raises(Unfit, match="every turn that would be trained on has weight 0"):
        trained(encoder, none)
    assert trained(encoder, ended) == ["<call>lookup city=Ulm<|end|>"]


def test_preferences_of_turns_with_other_keys(tmp_path: Path, context: Any, encoder: ChatEncoder) -> None:
    """They are turns and no JSON text, which would be trained on."""
    asked = [{"role": "user", "content": "q", "name": "x"}]
    better, worse = (
        {"role": "assistant", "content": "good", "score": 5},
        {"role": "assistant", "content": "bad"},
    )
    found = rows(
        tmp_path,
        context,
        {"prompt": asked, "chosen": [better], "rejected": [worse]},
        {"chosen": [*asked, worse], "rejected": [*asked, better]},
    )
    pairs = [
        PairObjective(lambda *_: (_[0].log_probs,) * 2).encode(row | {"_id": "a"}, encoder) for row in found
    ]
    shown = [[encoder.show(each) for each in pair.sequences] for pair in pairs]
    assert shown == [["good<|end|>", "bad<|end|>"], ["bad<|end|>", "good<|end|>"]]
    assert all('"role"' not in encoder.tokenizer.decode(each.ids) for each in pairs[0].sequences)


def test_an_alpaca_file(tmp_path: Path, context: Any, encoder: ChatEncoder) -> None:
    (row,) = rows(tmp_path, context, {"instruction": "Translate.", "input": "Haus", "output": "house"})
    assert "user\nTranslate.\n\nHaus<|end|>" in encoder.tokenizer.decode(encoder.encode(messages_of(row)).ids)
    assert trained(encoder, row) == ["house<|end|>"]
