"""Rows become the tokens that are served, labels cover the response and its end, and bad rows are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipelines.errors import DataError, ModelError
from gristmill.trainer.chat import ChatEncoder, encode_rows

ROW = {"_id": "a", "prompt": "Say hi.", "response": "hi", "system": "Be kind."}


@pytest.fixture
def model(tmp_path: Path, save_tokenizer: Callable[..., None]) -> Path:
    save_tokenizer(tmp_path)
    return tmp_path


def test_tokens_are_the_served_prompt_then_the_response_then_the_end_of_turn(model: Path) -> None:
    encoder = ChatEncoder(model)
    example = encoder.encode(ROW)
    served = encoder.tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Say hi."}],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert list(example.ids[: len(served)]) == served
    assert encoder.tokenizer.decode(example.ids[len(served) :]) == "hi<|end|>"
    assert example.trained == (False,) * len(served) + (True,) * 3
    assert encoder.show(example) == "hi<|end|>"


def test_only_the_last_turn_is_trained_on(model: Path) -> None:
    said = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"_id": "a", "messages": [{"role": role, "content": content} for role, content in said]}
    assert ChatEncoder(model).show(ChatEncoder(model).encode(row)) == "d<|end|>"


def test_all_tokens_but_the_first_are_trained_on_when_asked(model: Path) -> None:
    example = ChatEncoder(model, completion_only=False).encode(ROW)
    assert example.trained == (False,) + (True,) * (len(example.ids) - 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"response": "  \n"}, "all labels would be masked"),
        ({"messages": [{"role": "user", "content": "x"}]}, "last turn is not the assistant's"),
        ({"response": "one<|end|>two"}, "end-of-turn token itself"),
        ({"response": None}, "last turn is not the assistant's"),
        ({"prompt": None}, "no chat form"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_refused_by_id(
    model: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"1 rows .*bad: .*{reason}"):
        encode_rows([ROW, {**ROW, "_id": "bad", **change}], ChatEncoder(model), max_length=99)


def test_rows_cut_off_or_too_long_are_left_out_and_named(model: Path) -> None:
    rows = [ROW, {**ROW, "_id": "cut", "finish": "length"}, {**ROW, "_id": "long", "response": "y" * 99}]
    found = encode_rows(rows, ChatEncoder(model), max_length=99)
    assert [example.id for example in found.examples] == ["a"]
    assert (found.too_long, found.cut_off) == (["long"], ["cut"])
    with pytest.raises(DataError, match=r"2 rows .*long: longer than .*cut: cut off"):
        encode_rows(rows, ChatEncoder(model), max_length=99, refuse_unfit=True)
    with pytest.raises(DataError, match=r"no row to train on: 1 are longer .* 1 were cut off"):
        encode_rows(rows[1:], ChatEncoder(model), max_length=99)


def test_a_model_without_a_template_is_refused(tmp_path: Path, save_tokenizer: Callable[..., None]) -> None:
    save_tokenizer(tmp_path, template=None)
    with pytest.raises(ModelError, match="no chat template"):
        ChatEncoder(tmp_path)


def test_a_template_whose_end_of_turn_does_not_stop_generation_is_refused(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, end="<|start|>")
    with pytest.raises(
        ModelError, match=r"ends a turn with '<\|end\|>', but generation stops at '<\|start\|>'"
    ):
        ChatEncoder(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 1]}))
    assert ChatEncoder(tmp_path).end_of_turn == 1


def test_a_template_that_changes_the_prompt_once_answered_is_refused(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>{% endif %}",
    )
    with pytest.raises(ModelError, match="right after the generation prompt"):
        ChatEncoder(tmp_path)
