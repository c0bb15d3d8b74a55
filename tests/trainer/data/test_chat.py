"""Encoding of rows: tokens are those that are served, and labels cover the response and its end of turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Message
from gristmill.contracts.rows import messages_of
from gristmill.trainer.data.chat import ChatEncoder, TrainOn
from gristmill.trainer.data.chat_template import TemplateOptions
from gristmill.trainer.data.unfit import Unfit

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


def weightless(number: int) -> list[Message]:
    """``TALK``, in which one turn has weight 0."""
    turns: list[Any] = [dict(turn) for turn in TALK]
    turns[number]["weight"] = 0
    return turns


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_turn_of_weight_0_is_context_where_all_is_trained_on(model: Path, number: int) -> None:
    encoder = ChatEncoder(model, train_on="all")
    turns = [f"<|start|>{turn['role']}\n{turn['content']}<|end|>\n" for turn in TALK]
    found = encoder.encode(weightless(number))
    assert found.ids == encoder.encode(TALK).ids
    others = "".join(turn for place, turn in enumerate(turns) if place != number)
    assert encoder.show(found) == others.removesuffix("\n").removeprefix("" if number == 0 else "<|start|>")
    with pytest.raises(Unfit, match="every turn that would be trained on has weight 0"):
        encoder.encode(weightless(3))


def test_a_users_turn_of_weight_0_is_context(model: Path) -> None:
    encoder = ChatEncoder(model, train_on="user")
    for number in (0, 2):
        found = encoder.encode(weightless(number))
        assert encoder.show(found) == "hi there<|end|>"
        assert ("b c" in encoder.tokenizer.decode(found.ids)) == (number == 0)
    with pytest.raises(Unfit, match="every turn that would be trained on has weight 0") as raised:
        encoder.encode(weightless(0)[:2])
    assert raised.value.reason == "no turn to train on"


def test_a_turn_of_weight_0_that_is_changed_once_others_follow_is_refused(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=THINKING)
    encoder = ChatEncoder(tmp_path, train_on="all")
    assert encoder.encode(weightless(0))
    with pytest.raises(Unfit, match=r"changes turn 2, which has weight 0.*use train_on: assistant"):
        encoder.encode(weightless(1))


@pytest.mark.parametrize(
    "weights", [{"response_weights": [1.0, 2.0]}, {"span_weights": [{"start": 0, "end": 1, "weight": 2.0}]}]
)
def test_weights_of_an_answer_do_not_fit_where_the_user_is_learnt(
    model: Path, weights: dict[str, Any]
) -> None:
    encoder = ChatEncoder(model, train_on="user")
    with pytest.raises(Unfit, match="token_weights or span_weights are those of an answer") as raised:
        encoder.encode_turns(TALK, **weights)
    assert raised.value.reason == "wrong weights"
    assert encoder.encode_turns(TALK, span_weights=[]) == encoder.encode_turns(TALK)


#: My wording of what hybrid thinking models do: the last answer has a think block, earlier ones have none.
THINKING = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}"
    "<think>{{ m['content'].split('</think>')[0] if '</think>' in m['content'] else '' }}</think>\n"
    "{% endif %}"
    "{{ m['content'].split('</think>')[-1] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}"
    "<|start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}<think></think>\n"
    "{% endif %}{% endif %}"
)


def test_an_answer_that_is_changed_once_others_follow_is_trained_on_as_it_is_generated(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=THINKING)
    encoder = ChatEncoder(tmp_path, train_on="assistant")
    found = encoder.encode_turns([TALK[0], {"role": "assistant", "content": "hm</think>b"}, *TALK[2:]])
    assert [encoder.show(each) for each in found] == [
        "<think>hm</think>\nb<|end|>",
        "<think></think>\nd<|end|>",
    ]
    assert "hm</think>" not in encoder.tokenizer.decode(found[1].ids)
    last = ChatEncoder(tmp_path).encode_turns(TALK)
    assert [encoder.show(each) for each in last] == ["<think></think>\nd<|end|>"]


def test_what_a_template_writes_before_an_answer_is_the_prompts_if_a_server_sends_it(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=THINKING)
    encoder = ChatEncoder(tmp_path, options=TemplateOptions(arguments={"enable_thinking": False}))
    found = encoder.encode(TALK)
    assert encoder.show(found) == "d<|end|>"
    assert encoder.tokenizer.decode(found.ids).endswith("<|start|>assistant\n<think></think>\nd<|end|>")
    # The text of the template has the argument, which a caller may still change.
    saved = encoder.template.text
    for arguments, ending in (({}, "<think></think>\n"), ({"enable_thinking": True}, "assistant\n")):
        served = encoder.tokenizer.apply_chat_template(
            TALK[:1], chat_template=saved, add_generation_prompt=True, tokenize=False, **arguments
        )
        assert served.endswith(ending)


def test_weights_are_those_of_the_response_and_not_of_what_the_template_adds(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=THINKING)
    found = ChatEncoder(tmp_path).encode(TALK, [0.5, 2.0])
    assert found.weights is not None
    added = len("<think></think>\n")
    assert found.weights[-2 - added :] == (*[1.0] * added, 0.5, 2.0)
    assert found.trained[-2 - added :] == (True,) * (added + 2)


def test_a_user_whose_turn_is_changed_once_others_follow_is_refused(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] if loop.last or "
        "m['role'] == 'assistant' or messages[-1]['role'] == 'assistant' else '-' }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    )
    with pytest.raises(Unfit, match=r"changes turn 1 once others follow.*train_on: last"):
        ChatEncoder(tmp_path, train_on="user").encode(TALK)


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        # Llama 2 puts spaces around an answer, which the model writes.
        ("{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} "
         "{{ m.content | trim }} <|end|>{% endif %}{% endfor %}", " d <|end|>"),
        # Mistral's answers follow the prompt at once.
        ("{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} "
         "{{ m.content }}<|end|>{% endif %}{% endfor %}", " d<|end|>"),
        # DeepSeek-R1's distilled models begin with a thought that the template does not write.
        ("{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content }}{% else %}<a>"
         "{{ m.content.split('</think>')[-1] }}<|end|>{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}<a><think>\n{% endif %}", "d<|end|>"),
    ],
)  # fmt: skip
def test_whitespace_and_openings_of_families(
    template: str, shown: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=template)
    encoder = ChatEncoder(tmp_path)
    assert encoder.show(encoder.encode(TALK)) == shown
    if "</think>" in template:
        found = encoder.encode([TALK[0], {"role": "assistant", "content": "<b>d"}])
        assert encoder.tokenizer.decode(found.ids) == "<u>hi there<a><b>d<|end|>"
        found = encoder.encode([TALK[0], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nd"}])
        assert encoder.show(found) == "hm\n</think>\n\nd<|end|>"
        assert encoder.tokenizer.decode(found.ids) == "<u>hi there<a><think>\nhm\n</think>\n\nd<|end|>"


def test_a_tokenizer_that_begins_texts_with_a_space_gets_no_second_one(tmp_path: Path) -> None:
    """SentencePiece's tokenizers, as Llama 2's and Mistral's."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = [*"▁abcdefghijklmnopqrstuvwxyz.HINST[]/", "▁d", "</s>"]
    tokenizer = Tokenizer(models.BPE({each: place for place, each in enumerate(letters)}, [("▁", "d")]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    fast.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} "
        "{{ m.content }}</s>{% endif %}{% endfor %}"
    )
    fast.save_pretrained(tmp_path)
    found = ChatEncoder(tmp_path).encode(
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "d"}]
    )
    assert fast.convert_ids_to_tokens(list(found.ids[-3:])) == ["]", "▁d", "</s>"]
    assert found.trained[-3:] == (False, True, True)


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
    with pytest.raises(ModelError, match=r"ends a turn with nothing, but generation stops at '<\|end\|>'"):
        ChatEncoder(tmp_path)
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}{{ m['content'] if loop.last else '-' }}<|end|>{% endfor %}",
    )
    with pytest.raises(ModelError, match="changes a question once it is answered"):
        ChatEncoder(tmp_path)
