"""The end of an answer is the one that training teaches, with each chat template that TRL ships."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Request, Sampling
from gristmill.pipelines.engines import openai_scores
from gristmill.pipelines.engines.end_of_turn import end_of_answer
from gristmill.pipelines.engines.prompts import Prompts
from gristmill.pipelines.engines.thinking import ModelTemplate
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.chat_template import TemplateOptions

#: Templates of models that read pictures: they do not write a content that is a text.
PICTURES = ("idefics3", "llava_next", "smolvlm")
TALK = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
STOPS: dict[str, list[str]] = {
    name: wanted["stops"]
    for name, wanted in json.loads(
        (Path(__file__).parents[2] / "trainer" / "data" / "trl_templates.json").read_text(encoding="utf-8")
    ).items()
}


def template(name: str) -> Path:
    found = find_spec("trl")  # without importing it
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "chat_templates" / f"{name}.jinja"


@pytest.fixture
def tokenizer(tmp_path: Path, save_tokenizer: Callable[..., None]) -> Callable[[str], Path]:
    """Save the tests' tokenizer with a template of TRL, and the tokens at which its models stop."""

    def save(name: str) -> Path:
        stops = STOPS[name]
        text = template(name).read_text()
        save_tokenizer(tmp_path, template=text, end=stops[0], more=[*stops, "<s>"], begin="<s>")
        numbers = AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(stops)
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": numbers}))
        return tmp_path

    return save


def closed(turn: Any, answer: str) -> Request:
    """A request for the probability of an answer and its end of turn."""
    return Request("r", 0, Sampling(), messages=(turn,), continuation=answer, closed=True)


@pytest.mark.parametrize("name", STOPS)
def test_the_end_of_a_scored_answer_is_that_of_a_trained_one(
    name: str, tokenizer: Callable[[str], Path]
) -> None:
    path = tokenizer(name)
    encoder = ChatEncoder(path, options=TemplateOptions(str(template(name))))
    ids = encoder.encode(TALK).ids  # type: ignore[arg-type]
    end = end_of_answer(AutoTokenizer.from_pretrained(path), encoder.stops, {})
    if name.startswith(PICTURES):
        assert not end
        return
    assert end
    assert tuple(end) == ids[-len(end) :]
    assert encoder.tokenizer.decode(ids[: -len(end)]).endswith("a1")


@pytest.mark.parametrize("name", ["qwen3", "glm4moe", "qwen2_5"])
def test_a_request_is_closed_with_it(name: str, tokenizer: Callable[[str], Path]) -> None:
    """Qwen3's template writes an empty think block before an answer, GLM's nothing after it."""
    request = closed(TALK[0], "a1")
    prompts = Prompts(tokenizer(name), 1000)
    (tokens,) = prompts.tokens([request])
    assert prompts.tokenizer.decode(tokens.given) == "a1" + {"glm4moe": "<|user|>"}.get(name, "<|im_end|>")


def test_the_end_may_depend_on_the_template_s_arguments(tmp_path: Path, save_tokenizer: Any) -> None:
    end = "{% if brief %}.{% endif %}<|end|>"
    save_tokenizer(tmp_path, template=f"{{% for m in messages %}}{{{{ m['content'] }}}}{end}{{% endfor %}}")
    prompts = Prompts(tmp_path, 1000, template=ModelTemplate(arguments={"brief": True}))
    (tokens,) = prompts.tokens([closed(TALK[0], "a1")])
    assert prompts.tokenizer.decode(tokens.given) == "a1.<|end|>"


def test_a_template_without_an_end_is_refused_by_name(tmp_path: Path, save_tokenizer: Any) -> None:
    save_tokenizer(tmp_path, template="{% for m in messages %}{{ m['content'] }}.{% endfor %}")
    request = closed(TALK[0], "a1")
    with pytest.raises(EngineError, match="'r': no token at which decoding stops ends the assistant's turn"):
        Prompts(tmp_path, 1000).tokens([request])


def test_a_server_s_template_tells_it_too(tokenizer: Callable[[str], Path]) -> None:
    """The server renders and tokenizes as it does for ``/tokenize``."""
    server = AutoTokenizer.from_pretrained(tokenizer("qwen3"))

    async def post(url: str, body: dict[str, Any]) -> Any:
        if "messages" not in body:
            return {"tokens": server.encode(body["prompt"], add_special_tokens=False)}
        opening = body.get("add_generation_prompt", True)
        return {
            "tokens": server.apply_chat_template(body["messages"], add_generation_prompt=opening)["input_ids"]
        }

    def end(text: str, asked: str) -> int:
        request = closed({"role": "user", "content": asked}, text)
        given = server.encode(text, add_special_tokens=False)
        return asyncio.run(openai_scores._end_of_turn(post, "/tokenize", "m", request, given))

    assert end("a1", "q1") == end("a1", "is it a1 or a2?") == server.eos_token_id
    server.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(EngineError, match="does not tell which token ends this text"):
        end("a1", "is it a1 or a2?")
