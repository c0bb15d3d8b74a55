"""Log-probabilities of given texts in the transformers engine, against whole forward passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Engine, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import capabilities_of, likelihood

from .conftest import answers, serve


def given(text: str, number: int = 0, *, asked: str = "Why?", closed: bool = False) -> Request:
    """A request for the log-probability of a text as the answer to a question."""
    turn = {"role": "user", "content": asked}
    return Request(f"r{number}", 0, Sampling(), messages=(turn,), continuation=text, closed=closed)


TEXTS = ["Because.", "No", "It is so, and was ever so. " * 4, "ä", "Ask the miller."]


@pytest.fixture(params=["llama", "gemma2"])
def path(request: pytest.FixtureRequest, make_model: Callable[..., Path]) -> Path:
    # Gemma 2 caps its logits after the head, so that the head's own output is not enough.
    more = {"head_dim": 16, "sliding_window": 64, "pad_token_id": 1} if request.param == "gemma2" else {}
    return make_model(request.param, **more)


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    served = serve("transformers", ModelWeights("tiny", path, "d"), dtype="float32", batch_size=3)
    yield served
    asyncio.run(served.close())


def whole(path: Path, request: Request) -> list[float]:
    """The same by one forward pass over the whole conversation, from its text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    before = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
    after = request.continuation + ("<|end|>" if request.closed else "")
    ids = tokenizer(before + after, add_special_tokens=False, return_tensors="pt")["input_ids"]
    start = len(tokenizer(before, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logits = model(ids).logits[0].log_softmax(-1)
    return [float(logits[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])]


@pytest.mark.parametrize("most", [likelihood.LOGITS, 3 * 300 * 7])
def test_each_token_has_the_log_probability_of_a_whole_forward_pass(
    path: Path, engine: Engine, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "LOGITS", most)
    requests = [
        given(text, number, asked="Why? " * (1 + number % 3), closed=number % 2 == 0)
        for number, text in enumerate(TEXTS)
    ]
    scored = answers(engine, *requests)
    assert [completion.request_id for completion in scored] == [request.id for request in requests]
    for request, completion in zip(requests, scored, strict=True):
        assert completion.logprobs == pytest.approx(whole(path, request), abs=1e-4)
        assert completion.text == request.continuation
        assert len(completion.tokens) == len(completion.logprobs or ())


def test_a_plain_prompt_is_continued_and_none_begins_with_the_token_that_begins_a_text(
    path: Path, engine: Engine
) -> None:
    sampling = Sampling()
    some = Request("a", 0, sampling, prompt="The mill", continuation=" turns")
    none = Request("b", 0, sampling, prompt="", continuation=" turns")
    first, second = answers(engine, some, none)
    assert first.prompt_tokens == len("The mill")
    assert second.prompt_tokens == 1
    assert first.tokens == second.tokens == tuple(first.tokens)
    assert first.logprobs != second.logprobs


def test_texts_are_scored_beside_answers_that_are_decoded(engine: Engine) -> None:
    asked = [
        Request(f"g{n}", n, Sampling(max_tokens=3), messages=({"role": "user", "content": "Say."},))
        for n in range(4)
    ]
    texts = [given(text, number) for number, text in enumerate(TEXTS)]

    async def together() -> tuple[list[Completion], list[Completion]]:
        mixed = [request for pair in zip(asked, texts, strict=False) for request in pair]
        one, other = await asyncio.gather(engine.generate(mixed), engine.generate(texts))
        return one, other

    mixed, alone = asyncio.run(together())
    assert [completion.request_id for completion in mixed] == [f"{k}{n}" for n in range(4) for k in "gr"]
    for completion in mixed[1::2]:
        again = alone[int(completion.request_id[1:])]
        assert completion.logprobs == pytest.approx(again.logprobs, abs=1e-4)


def test_a_text_that_exceeds_the_context_is_refused_with_the_numbers(engine: Engine) -> None:
    with pytest.raises(
        EngineError, match=r"'r9'.* tokens and a text to score of 300 tokens do not fit .*256"
    ):
        answers(engine, given("x" * 300, 9))
    with pytest.raises(EngineError, match="the text to score is empty"):
        answers(engine, given("", 9))


def test_only_a_vllm_server_scores_given_text() -> None:
    server = {"url": "http://localhost:1/v1", "model": "m"}
    assert "likelihood" not in capabilities_of("openai", server)
    assert "likelihood" in capabilities_of("openai", {**server, "flavor": "vllm"})
    with pytest.raises(ModelError, match="only a vLLM server"):
        capabilities_of("openai", {**server, "supports": ["likelihood"]})
    with pytest.raises(EngineError, match="needs likelihood, which the engine 'openai' does not"):
        answers(serve("openai", None, **server), given("x"))
