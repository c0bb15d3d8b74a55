"""Encoding of rows: tokens are those that are served, and labels cover the response and its end of turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Message
from gristmill.contracts.rows import messages_of
from gristmill.trainer.data.chat import ChatEncoder, TrainOn

ROW = {"_id": "a", "prompt": "Say hi.", "response": "hi", "system": "Be kind."}


@pytest.fixture
def model(tmp_path: Path, save_tokenizer: Callable[..., None]) -> Path:
    save_tokenizer(tmp_path)
    return tmp_path


def test_tokens_are_the_served_prompt_then_the_response_then_the_end_of_turn(model: Path) -> None:
    encoder = ChatEncoder(model)
    example = encoder.encode(messages_of(ROW))
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
    assert ChatEncoder(model).show(ChatEncoder(model).encode(messages_of(row))) == "d<|end|>"


TALK = [
    {"role": "user", "content": "hi there"},
    {"role": "assistant", "content": "b c"},
    {"role": "user", "content": "hi there"},
    {"role": "assistant", "content": "d"},
]


@pytest.mark.parametrize(
    ("train_on", "shown"),
    [
        ("last", "d<|end|>"),
        ("assistant", "b c<|end|>d<|end|>"),
        ("user", "hi there<|end|>hi there<|end|>"),
    ],
)
@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "hi there"}]])
def test_the_turns_that_are_asked_for_are_trained_on_and_no_token_changes(
    model: Path, train_on: TrainOn, shown: str, system: list[Message]
) -> None:
    encoder = ChatEncoder(model, train_on=train_on)
    found, usual = encoder.encode([*system, *TALK]), ChatEncoder(model).encode([*system, *TALK])
    assert encoder.show(found) == shown
    assert found.ids == usual.ids[: len(found.ids)]
    assert len(found.ids) == len(usual.ids) or train_on == "user"


def test_a_user_may_have_the_last_word_where_the_user_is_learnt(model: Path) -> None:
    encoder = ChatEncoder(model, train_on="user")
    assert encoder.show(encoder.encode(TALK[:3])) == "hi there<|end|>hi there<|end|>"
    for turns, why in (
        ([TALK[1]], "no turn is the user's"),
        ([{"role": "user", "content": " "}], "are empty"),
    ):
        with pytest.raises(ValueError, match=why):
            encoder.encode(turns)


def test_a_template_that_changes_earlier_answers_is_refused_for_them(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """For example, a template that drops the reasoning of all answers except the last."""
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}<|start|>{{ m['role'] }}\n{% if m['role'] != 'assistant' or "
        "loop.last %}{{ m['content'] }}"
        "{% else %}-{% endif %}<|end|>\n{% endfor %}{% if add_generation_prompt "
        "%}<|start|>assistant\n{% endif %}",
    )
    assert ChatEncoder(tmp_path).encode(TALK).trained_tokens == 2
    with pytest.raises(ValueError, match=r"changes turn 2 once others follow.*train_on: last"):
        ChatEncoder(tmp_path, train_on="assistant").encode(TALK)


def test_all_tokens_but_the_first_are_trained_on_when_asked(model: Path) -> None:
    example = ChatEncoder(model, train_on="all").encode(messages_of(ROW))
    assert example.trained == (False,) + (True,) * (len(example.ids) - 1)


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
        template="{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>{% "
        "endif %}",
    )
    with pytest.raises(ModelError, match="right after the generation prompt"):
        ChatEncoder(tmp_path)
