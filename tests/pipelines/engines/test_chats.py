"""One engine for a model and adapters: the chat template of each request is that of its adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request, Sampling
from gristmill.pipelines.engines.chats import Chats
from gristmill.pipelines.engines.options import ChatOptions, parse
from gristmill.pipelines.engines.prompts import Prompts

ASKED = Request("r", 7, Sampling(), messages=({"role": "user", "content": "q"},))
TURNS = "{% for turn in messages %}<|start|>{{ turn.role }} {{ turn.content }}<|end|>{% endfor %}"
MODEL = TURNS + "{% if add_generation_prompt %}<|start|>assistant {% endif %}"
#: Another begin of a turn and another end, a variable, and other markers of a thought.
STUDENT = (
    "{% for turn in messages %}[{{ turn.role }}] {{ turn.content }}\n<|end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {{ mood }}<thought>{% endif %}"
)


class Made:
    """The chats of a model and the adapters that it was asked for, and how many tokenizers they loaded."""

    def __init__(
        self, folder: Path, save: Callable[..., None], own: Path | None = None, **given: Any
    ) -> None:
        self.folder, self.loaded = folder, 0
        save(folder / "model", template=MODEL)
        template = parse("x", ChatOptions, given.pop("options", {})).template()

        def make(adapter: Path | None) -> Prompts:
            self.loaded += 1
            return Prompts(folder / "model", 1000, adapter, template)

        self.chats = Chats(make, own, lambda tokenizer: None, **given)

    def texts(self, *requests: Request) -> list[str]:
        decode = self.chats.own.prompts.tokenizer.decode
        return [decode([*each.prompt, *each.given]) for each in self.chats.tokens(requests)]


def trained(folder: Path, name: str, template: str | None) -> Path:
    adapter = folder / name
    adapter.mkdir()
    if template is not None:
        (adapter / "chat_template.jinja").write_text(template, encoding="utf-8")
    return adapter


def test_a_student_is_asked_with_the_template_of_its_training(tmp_path: Path, save_tokenizer: Any) -> None:
    made = Made(tmp_path, save_tokenizer, options={"chat_template_kwargs": {"mood": "calm "}})
    student, plain = trained(tmp_path, "student", STUDENT), trained(tmp_path, "plain", None)
    asked = [replace(ASKED, adapter=adapter) for adapter in (student, None, plain, student)]
    model = "<|start|>user q<|end|><|start|>assistant "
    own = "[user] q\n<|end|>[assistant] calm <thought>"
    assert made.texts(*asked) == [own, model, model, own]
    assert [tokens.begun for tokens in made.chats.tokens(asked)] == [True, False, False, True]


def test_a_student_has_a_template_for_tools_as_in_its_training(tmp_path: Path, save_tokenizer: Any) -> None:
    made = Made(tmp_path, save_tokenizer)
    student = trained(tmp_path, "student", STUDENT)
    (student / "additional_chat_templates").mkdir()
    (student / "additional_chat_templates" / "tool_use.jinja").write_text("[{{ tools[0].function.name }}]")
    tools = '[{"type": "function", "function": {"name": "look", "parameters": {}}}]'
    asked = replace(ASKED, adapter=student)
    plain = "[user] q\n<|end|>[assistant] <thought>"
    assert made.texts(asked, replace(asked, tools=tools)) == [plain, "[look]"]


def test_a_student_s_answer_is_read_by_its_own_markers(tmp_path: Path, save_tokenizer: Any) -> None:
    made = Made(tmp_path, save_tokenizer)
    student = replace(ASKED, adapter=trained(tmp_path, "student", STUDENT))
    said = Completion("r", "hm</thought>a", (), "stop", 3)
    done = made.chats.read(student, said, begun=True)
    assert (done.text, done.reasoning) == ("a", "hm")
    assert made.chats.read(ASKED, said).text == "hm</thought>a"


def test_a_given_text_is_scored_after_its_prompt_and_with_its_end(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    made = Made(tmp_path, save_tokenizer)
    asked = replace(ASKED, continuation="a", closed=True)
    student = replace(asked, adapter=trained(tmp_path, "student", STUDENT))
    assert made.texts(asked, student) == [
        "<|start|>user q<|end|><|start|>assistant a<|end|>",
        "[user] q\n<|end|>[assistant] <thought>a\n<|end|>",
    ]


def test_an_engine_s_own_adapter_is_that_of_requests_that_name_none(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    own = trained(tmp_path, "own", STUDENT)
    made = Made(tmp_path, save_tokenizer, own)
    assert made.texts(ASKED) == ["[user] q\n<|end|>[assistant] <thought>"]


def test_students_of_one_template_share_a_tokenizer(tmp_path: Path, save_tokenizer: Any) -> None:
    made = Made(tmp_path, save_tokenizer)
    students = [trained(tmp_path, f"student_{turn}", STUDENT) for turn in range(3)]
    made.texts(ASKED, *(replace(ASKED, adapter=student) for student in students))
    assert made.loaded == 2


def test_a_template_that_does_not_fit_the_engine_fails_its_requests(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    """Others go on, and a later request is refused again."""
    made = Made(tmp_path, save_tokenizer, alike=True)
    student = replace(ASKED, adapter=trained(tmp_path, "student", STUDENT))
    for _ in range(2):
        with pytest.raises(
            EngineError, match=r"student: thinking_tokens: .*'</thought>', .*'</think>'"
        ) as no:
            made.texts(student)
        assert not no.value.retryable
    assert made.texts(ASKED) == ["<|start|>user q<|end|><|start|>assistant "]
