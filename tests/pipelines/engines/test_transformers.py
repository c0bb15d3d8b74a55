from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gristmill.contracts import number_formats
from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Engine, ModelWeights
from gristmill.pipelines.engines.transformers import TransformersOptions, load_model

from .conftest import answers, ask, during, serve

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def exact(weights: ModelWeights) -> Iterator[Engine]:
    """In float32, where other rows of the batch do not affect sampling."""
    engine = serve("transformers", weights, dtype="float32", batch_size=4, max_model_len=256)
    yield engine
    asyncio.run(engine.close())


@pytest.mark.parametrize(("fast", "taken"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_number_format_is_what_this_machine_is_fast_in(
    fast: bool, taken: torch.dtype, make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_formats, "fast_bfloat16", lambda: fast)
    options = TransformersOptions(device="cpu")
    assert load_model(ModelWeights("tiny", make_model(), "0" * 64), options).dtype is taken


def test_a_row_does_not_depend_on_its_neighbors(exact: Engine) -> None:
    requests = [
        ask("Hi. " * (1 + 5 * n), n, max_tokens=4 + 3 * n, temperature=0.8, top_p=0.9, logprobs=2)
        for n in range(5)
    ]
    together = answers(exact, *requests)
    for request, beside in zip(requests, together, strict=True):
        (alone,) = answers(exact, request)
        assert alone.tokens == beside.tokens
        assert alone.text == beside.text
        assert alone.logprobs == pytest.approx(beside.logprobs, abs=1e-3)


def test_greedy_is_what_transformers_generates(exact: Engine, weights: ModelWeights) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(weights.path))
    model = AutoModelForCausalLM.from_pretrained(str(weights.path), dtype=torch.float32)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is a mill?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    theirs = model.generate(**chat, do_sample=False, max_new_tokens=20)[0, chat["input_ids"].shape[1] :]
    (ours,) = answers(exact, ask("What is a mill?", temperature=0.0, max_tokens=20))
    assert list(ours.tokens) == theirs.tolist()
    assert ours.text == tokenizer.decode(theirs, skip_special_tokens=True)


def test_a_thought_is_ended_after_its_tokens(exact: Engine, weights: ModelWeights) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(weights.path))
    asked = ask("What is a mill?", temperature=0.0, max_tokens=20)
    (free,) = answers(exact, asked)
    markers = [tokenizer.decode(free.tokens[:1]), "</think>"]  # the model opens its thought by its first word
    limited = serve(
        "transformers",
        weights,
        dtype="float32",
        max_model_len=256,
        thinking_tokens=5,
        thinking={"markers": markers},
    )
    told = during(limited, lambda: limited.generate([asked]))[0]
    closing = tokenizer.encode("</think>", add_special_tokens=False)
    assert told.tokens[:6] == free.tokens[:6]
    assert list(told.tokens[6 : 6 + len(closing)]) == closing
    assert len(told.tokens) == 20  # it goes on with its answer
    assert told.reasoning == tokenizer.decode(free.tokens[1:6]).strip()
    assert told.text == tokenizer.decode(told.tokens[6 + len(closing) :]).lstrip()


def test_after_close_a_call_is_a_retryable_error(weights: ModelWeights) -> None:
    engine = serve("transformers", weights, max_model_len=256)

    async def close_at_work() -> None:
        call = asyncio.ensure_future(engine.generate([ask("Go on.", n, max_tokens=60) for n in range(20)]))
        await asyncio.sleep(0.3)
        await engine.close()
        with pytest.raises(EngineError, match="the engine was closed") as caught:
            await call
        assert caught.value.retryable

    asyncio.run(close_at_work())
    with pytest.raises(EngineError, match="the engine was closed"):
        answers(engine, ask("Hello?"))


def test_what_is_no_model_is_named(weights: ModelWeights, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a model directory: config.json cannot be read"):
        serve("transformers", replace(weights, path=tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8}))
    with pytest.raises(ModelError, match=str(tmp_path)):
        serve("transformers", replace(weights, path=tmp_path))
