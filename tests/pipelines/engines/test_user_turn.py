"""The opened user turn equals what the chat template writes before the user's text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Message, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import capabilities_of
from gristmill.pipelines.engines.prompts import Prompts
from gristmill.pipelines.engines.requests import check
from gristmill.pipelines.engines.thinking import ModelTemplate

from .conftest import answers, serve

SYSTEM: Message = {"role": "system", "content": "You teach physics."}
TALK: tuple[Message, ...] = (
    SYSTEM,
    {"role": "user", "content": "What is heat?"},
    {"role": "assistant", "content": "Motion."},
)


def opened(*turns: Message, number: int = 0) -> Request:
    return Request(f"r{number}", 1, Sampling(max_tokens=8), messages=turns, opening="user")


def text_of(prompts: Prompts, request: Request) -> str:
    (tokens,) = prompts.tokens([request])
    text: str = prompts.tokenizer.decode(tokens.prompt, skip_special_tokens=False)
    return text


@pytest.fixture(scope="module")
def smollm(weights: ModelWeights) -> Prompts:
    return Prompts(weights.path, 512)


@pytest.mark.parametrize("turns", [(), (SYSTEM,), TALK], ids=["nothing", "system", "talk"])
def test_a_real_template_is_cut_where_the_users_text_begins(
    smollm: Prompts, turns: tuple[Message, ...]
) -> None:
    question = "Why is the sky blue?"
    whole = smollm.tokenizer.apply_chat_template(
        [*turns, {"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    prefix = text_of(smollm, opened(*turns))
    assert whole == f"{prefix}{question}<|im_end|>\n<|im_start|>assistant\n"
    assert prefix.endswith("<|im_start|>user\n")
    # The template's default system prompt appears only if no other is given.
    assert ("named SmolLM" in prefix) == (not turns)


def test_the_same_messages_open_either_turn(smollm: Prompts) -> None:
    asked = Request("a", 1, Sampling(max_tokens=8), messages=TALK[:2])
    user, assistant, again = smollm.tokens([opened(*TALK[:2]), asked, opened(*TALK[:2], number=1)])
    assert user == again
    assert smollm.tokenizer.decode(user.prompt).endswith("<|im_start|>user\n")
    assert smollm.tokenizer.decode(assistant.prompt).endswith("<|im_start|>assistant\n")


def model_with(path: Path, save: Callable[..., None], template: str, **config: Any) -> Prompts:
    path.mkdir()
    save(path, template)
    (path / "config.json").write_text(json.dumps({"eos_token_id": 1, **config}))
    return Prompts(path, 512)


def test_a_turn_that_decoding_would_run_past_is_refused(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    brackets = "{% for m in messages %}[INST] {{ m['content'] | trim }} [/INST]{% endfor %}"
    with pytest.raises(EngineError, match=r"closes the user's turn with '\[/INST\]'") as caught:
        model_with(tmp_path / "a", save_tokenizer, brackets).tokens([opened()])
    assert not caught.value.retryable
    silent = "{% for m in messages %}{{ m['content'] | upper | replace('-', '') }}<|end|>{% endfor %}"
    with pytest.raises(EngineError, match="does not print a user's text"):
        model_with(tmp_path / "b", save_tokenizer, silent).tokens([opened()])


def test_the_template_is_given_its_arguments(tmp_path: Path, save_tokenizer: Callable[..., None]) -> None:
    turns = "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>{% endfor %}"
    save_tokenizer(tmp_path, "{{ mood }}" + turns)
    prompts = Prompts(tmp_path, 512, template=ModelTemplate(arguments={"mood": "calm"}))
    assert text_of(prompts, opened()) == "calm<|start|>user\n"


def test_ends_named_by_the_generation_config_count(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    template = (
        "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|start|>{% endfor %}"
    )
    prompts = model_with(tmp_path / "a", save_tokenizer, template)
    with pytest.raises(EngineError, match="does not stop"):
        prompts.tokens([opened()])
    (tmp_path / "a" / "generation_config.json").write_text('{"eos_token_id": [1, 0]}')
    assert text_of(Prompts(tmp_path / "a", 512), opened()) == "<|start|>user\n"


def test_engines_say_whether_they_can() -> None:
    for kind in ("vllm", "transformers", "synthetic"):
        assert "user_turn" in capabilities_of(kind)
    server = {"url": "http://localhost:1/v1", "model": "m", "flavor": "vllm"}
    assert "user_turn" not in capabilities_of("openai", server)
    with pytest.raises(ModelError, match="does not support user_turn"):
        capabilities_of("openai", server | {"supports": ["user_turn"]})
    with pytest.raises(EngineError, match="'r0' needs user_turn"):
        check([opened()], capabilities_of("openai", server), "openai")
    with pytest.raises(EngineError, match="requires a conversation"):
        check([Request("p", 1, Sampling(), prompt="x", opening="user")], capabilities_of("vllm"), "vllm")


def test_the_synthetic_engine_writes_a_users_turn_of_nothing() -> None:
    first, second = answers(serve("synthetic", None), opened(), opened(SYSTEM, number=1))
    assert first.text
    assert first.prompt_tokens == 1
    assert second.prompt_tokens > 1
