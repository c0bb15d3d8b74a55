"""The template that conversations are rendered with: a packaged one, a file, its arguments, and its clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError, ModelError
from gristmill.pipelines.engines.tool_calls import hermes
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.chat_template import TemplateOptions
from gristmill.trainer.data.named_templates import NAMED_TEMPLATES
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.settings import TrainSettings

TALK = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "p"},
    {"role": "assistant", "content": "b"},
]


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        (
            "chatml",
            "<|im_start|>system\ns<|end|>\n<|im_start|>user\nq<|end|>\n<|im_start|>assistant\na<|end|>\n"
            "<|im_start|>user\np<|end|>\n<|im_start|>assistant\nb<|end|>",
        ),
        (
            "zephyr",
            "<|system|>\ns<|end|>\n<|user|>\nq<|end|>\n<|assistant|>\na<|end|>\n<|user|>\np<|end|>\n"
            "<|assistant|>\nb<|end|>",
        ),
        (
            "alpaca",
            "s\n\n### Instruction:\nq\n\n### Response:\na<|end|>\n\n### Instruction:\np\n\n"
            "### Response:\nb<|end|>",
        ),
        (
            "hermes",
            "<|im_start|>system\ns<|end|>\n<|im_start|>user\nq<|end|>\n<|im_start|>assistant\na<|end|>\n"
            "<|im_start|>user\np<|end|>\n<|im_start|>assistant\nb<|end|>",
        ),
        ("plain", "system:\ns\n\nuser:\nq\n\nassistant:\na<|end|>\n\nuser:\np\n\nassistant:\nb<|end|>"),
    ],
)
def test_a_base_model_takes_a_packaged_template(
    name: str, whole: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=None)
    with pytest.raises(ModelError, match=r"no chat template.*chat_template: NAME \(chatml, zephyr,"):
        ChatEncoder(tmp_path)
    encoder = ChatEncoder(tmp_path, train_on="assistant", options=TemplateOptions(name))
    found = encoder.encode(TALK)  # type: ignore[arg-type]
    assert encoder.tokenizer.decode(found.ids) == whole
    assert encoder.show(found) == "a<|end|>b<|end|>"
    assert name in NAMED_TEMPLATES


def test_a_packaged_template_begins_as_the_tokenizer_begins_its_texts(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    save_tokenizer(tmp_path, template=None, more=["<s>"], begin="<s>")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", begin)]
    )
    plain = ChatEncoder(tmp_path, options=TemplateOptions("plain"))
    assert plain.encode(TALK[1:3]).ids[0] != begin  # type: ignore[arg-type]
    tokenizer.save_pretrained(tmp_path)
    plain = ChatEncoder(tmp_path, options=TemplateOptions("plain"))
    assert plain.encode(TALK[1:3]).ids.count(begin) == 1  # type: ignore[arg-type]
    assert plain.encode(TALK[1:3]).ids[0] == begin  # type: ignore[arg-type]


def test_a_file_takes_the_place_of_the_models_own_template(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path)
    file = tmp_path / "mine.jinja"
    file.write_text(
        "{% for m in messages %}{{ mark }}{{ m.content }}<|end|>{% endfor %}"
        "{{ mark if add_generation_prompt }}",
        encoding="utf-8-sig",
    )
    encoder = ChatEncoder(tmp_path, options=TemplateOptions(str(file), {"mark": "#"}))
    assert encoder.tokenizer.decode(encoder.encode(TALK[1:3]).ids) == "#q<|end|>#a<|end|>"  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"'chatmI' is neither a packaged template .*did you mean 'chatml'"):
        TemplateOptions("chatmI").text()


def test_the_template_is_part_of_a_steps_fingerprint_and_its_arguments_have_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("one")
    step = SupervisedFineTuning(model="m", chat_template=str(file))
    before = step.content()
    file.write_text("other")
    assert before != step.content() != SupervisedFineTuning(model="m").content() == {}
    with pytest.raises(ValidationError, match="is no name of a template's variable"):
        SupervisedFineTuning(model="m", chat_template_kwargs={"enable-thinking": False})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (False, "False"),
        (None, "None"),
        ("a'\"\n", "a'\"\n"),
        ([1, {"k": True}], "[1, {'k': True}]"),
        ("😀ä\u2028", "😀ä\u2028"),
        ({"😀": "\t"}, "{'😀': '\\t'}"),
    ],
)
def test_arguments_of_any_type_reach_the_template(
    value: object, written: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template="{{ option }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")
    encoder = ChatEncoder(tmp_path, options=TemplateOptions(arguments={"option": value}))
    assert encoder.template.render([{"role": "user", "content": "q"}]) == f"{written}q<|end|>"


def test_a_template_that_writes_the_date_writes_the_same_on_any_day(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """Llama 3.2's does."""
    save_tokenizer(
        tmp_path,
        template="{{ strftime_now('%d %b %Y %H:%M:%S') }} {% for m in messages %}{{ m.content }}<|end|>"
        "{% endfor %}",
    )
    encoder = ChatEncoder(tmp_path)
    assert encoder.tokenizer.decode(encoder.encode(TALK[1:3]).ids).startswith("26 Jul 2024 12:00:00 q")  # type: ignore[arg-type]
    other = ChatEncoder(tmp_path, options=TemplateOptions(today=date(2030, 1, 2)))
    assert other.template.render(TALK[1:3]).startswith("02 Jan 2030")
    assert "strftime_now" in str(other.template.text)  # what is served has today's date


def test_every_method_takes_the_options(tmp_path: Path, save_tokenizer: Callable[..., None]) -> None:
    save_tokenizer(tmp_path, template=None)
    for step in _methods():
        assert step.encoder(tmp_path).template.text == NAMED_TEMPLATES["plain"]


def _methods() -> list[TrainSettings]:
    from gristmill.contracts.registry import find, names

    found = []
    for kind in (find("train", name) for name in names("train")):
        if kind is not None and issubclass(kind, TrainSettings) and kind.conversational:
            more = {"teacher": "t"} if "teacher" in kind.model_fields else {}
            found.append(kind(model="m", chat_template="plain", **more))
    assert len(found) > 5
    return found


def test_hermes_writes_tools_and_their_calls(tmp_path: Path, save_tokenizer: Callable[..., None]) -> None:
    """What the student is trained on is what the reader of its calls reads."""
    save_tokenizer(tmp_path, template=None)
    encoder = ChatEncoder(tmp_path, train_on="assistant", options=TemplateOptions("hermes"))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]

    def call(name: str, arguments: str) -> dict[str, object]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}

    calls = [call("look", '{"place": "Ulm"}'), call("in.town/v2 now", "{}")]
    talk = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "12", "tool_call_id": "look"},
        {"role": "assistant", "content": "Again.", "tool_calls": calls[:1]},
        {"role": "tool", "content": "13", "tool_call_id": "look"},
        {"role": "assistant", "content": "a"},
    ]
    found = encoder.encode(talk, tools=tools)  # type: ignore[arg-type]
    whole = encoder.tokenizer.decode(found.ids)
    assert whole.startswith('<|im_start|>system\nYou can call these functions:\n<tools>\n{"type"')
    assert "<|im_start|>tool\n<tool_response>\n12\n</tool_response><|end|>" in whole
    first = '<tool_call>\n{"name": "look", "arguments": {"place": "Ulm"}}\n</tool_call>'
    second = '<tool_call>\n{"name": "in.town/v2 now", "arguments": {}}\n</tool_call>'
    assert encoder.show(found) == f"{first}\n{second}<|end|>Again.\n{first}<|end|>a<|end|>"
    said, read = hermes(f"{first}\n{second}", "[]")
    assert (said, [each["name"] for each in read]) == ("", ["look", "in.town/v2 now"])
