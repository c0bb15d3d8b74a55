"""The protocol of engines that serve weights in this process, tested on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Engine, ModelWeights, Request, Sampling, Usage

from .conftest import CONTEXT, answers, ask, serve

KINDS = [
    "synthetic",
    pytest.param("vllm", marks=pytest.mark.engine),
    pytest.param("transformers", marks=pytest.mark.engine),
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def engine(kind: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    if kind == "vllm":
        yield request.getfixturevalue("shared_vllm")
        return
    if kind == "synthetic":
        served = serve(kind, None, max_model_len=CONTEXT, latency=0.05)
    else:
        served = serve(kind, request.getfixturevalue("weights"), max_model_len=CONTEXT)
    yield served
    asyncio.run(served.close())


def test_answers_come_in_the_order_asked_whatever_ends_first(engine: Engine) -> None:
    calls = [
        [ask("Count to nine.", n, max_tokens=1 + (7 * n) % 11) for n in range(c, c + 6)] for c in (0, 6, 12)
    ]

    async def together() -> list[list[str]]:
        done = await asyncio.gather(*(engine.generate(call) for call in calls))
        return [[completion.request_id for completion in call] for call in done]

    assert asyncio.run(together()) == [[request.id for request in call] for call in calls]


def test_an_empty_call_has_no_answers(engine: Engine) -> None:
    assert answers(engine) == []


def test_the_same_batch_gives_the_same_text_and_another_seed_another(engine: Engine) -> None:
    batch = [ask("Write a line about rivers.", n, temperature=0.9, max_tokens=24) for n in range(6)]
    first, again = answers(engine, *batch), answers(engine, *batch)
    assert [c.tokens for c in first] == [c.tokens for c in again]
    assert [c.text for c in first] == [c.text for c in again]
    assert len({c.text for c in first}) > 1


def test_greedy_does_not_look_at_the_seed(engine: Engine) -> None:
    one, other = answers(
        engine,
        ask("Name a planet.", 0, temperature=0.0, seed=1),
        ask("Name a planet.", 1, temperature=0.0, seed=2),
    )
    assert one.tokens == other.tokens


def test_usage_is_what_was_read_and_written(engine: Engine) -> None:
    requests = [ask("Tell me about stones.", n, max_tokens=5) for n in range(3)]
    done = answers(engine, *requests)
    assert len({c.prompt_tokens for c in done}) == 1
    assert done[0].prompt_tokens > 3
    for completion in done:
        assert completion.finish in ("stop", "length")
        assert (
            (len(completion.tokens) == 5) if completion.finish == "length" else (len(completion.tokens) <= 5)
        )
    usage = Usage()
    for completion in done:
        usage.count(completion)
    assert usage.requests == 3
    assert usage.completion_tokens == sum(len(c.tokens) for c in done)


@pytest.mark.parametrize("wanted", [0, 1, 5])
def test_logprobs_are_one_a_token_and_the_likeliest_fall(engine: Engine, wanted: int) -> None:
    greedy = ask("Name a colour.", 0, temperature=0.0, logprobs=wanted, max_tokens=8)
    drawn = ask("Name a colour.", 1, temperature=1.2, logprobs=wanted, max_tokens=8)
    for completion in answers(engine, greedy, drawn):
        assert completion.logprobs is not None
        assert completion.top_logprobs is not None
        assert len(completion.logprobs) == len(completion.top_logprobs) == len(completion.tokens)
        assert all(value <= 1e-6 for value in completion.logprobs)
        for sampled, top in zip(completion.logprobs, completion.top_logprobs, strict=True):
            assert len(top) == wanted
            assert list(top) == sorted(top, reverse=True)
            assert not top or sampled <= top[0] + 1e-6
            assert completion.top_texts is None
            assert not top or completion.request_id != "r0" or sampled == pytest.approx(top[0])


def test_the_texts_of_the_likeliest_tokens_are_told(engine: Engine) -> None:
    (said,) = answers(
        engine, ask("Name a colour.", 0, temperature=0.0, logprobs=6, top_texts=True, max_tokens=4)
    )
    assert said.top_texts is not None
    assert said.top_logprobs is not None
    assert [len(texts) for texts in said.top_texts] == [len(top) for top in said.top_logprobs]
    # Greedy: the first of each position is what was written.
    assert said.text.strip().lower().startswith(said.top_texts[0][0].strip().lower())


def test_no_logprobs_unless_asked(engine: Engine) -> None:
    (completion,) = answers(engine, ask("Name a tool."))
    assert completion.logprobs is None
    assert completion.top_logprobs is None


def test_a_given_text_has_the_log_probabilities_that_writing_it_had(engine: Engine, kind: str) -> None:
    if kind == "synthetic":
        pytest.skip("it writes by topics of the prompt, and scores by words alone")
    written = answers(engine, *(ask(f"Name {n + 2} rivers.", n, max_tokens=8, logprobs=0) for n in range(3)))
    requests = [
        replace(ask(f"Name {n + 2} rivers.", n, max_tokens=1), continuation=said.text, closed=True)
        for n, said in enumerate(written)
    ]
    for said, scored in zip(written, answers(engine, *requests), strict=True):
        assert said.logprobs is not None
        assert scored.logprobs is not None
        assert len(scored.logprobs) == len(scored.tokens)
        assert scored.text == said.text
        assert scored.prompt_tokens == said.prompt_tokens
        both = min(len(said.tokens), len(scored.tokens) - 1)
        # The same tokens unless the text of the written ones is tokenized in another way.
        if scored.tokens[:both] == said.tokens[:both]:
            assert scored.logprobs[:both] == pytest.approx(said.logprobs[:both], abs=0.25)  # bfloat16


def test_a_text_given_to_score_that_is_too_long_is_refused_with_the_numbers(engine: Engine) -> None:
    long = replace(ask("Why?", 99), continuation="word " * (CONTEXT + 100))
    with pytest.raises(EngineError, match=rf"'r99'.*a text to score of \d+ tokens .*{CONTEXT}") as caught:
        answers(engine, replace(ask("Why?", 98), continuation="Fine."), long)
    assert not caught.value.retryable


def test_a_stop_string_ends_the_answer_before_it(engine: Engine) -> None:
    (whole,) = answers(engine, ask("Describe a garden.", temperature=0.0, max_tokens=24))
    stop = whole.text.split()[4]
    (cut,) = answers(engine, ask("Describe a garden.", temperature=0.0, max_tokens=24, stop=(stop,)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert len(cut.tokens) < len(whole.tokens)


def test_a_prompt_too_long_is_refused_by_name_and_harms_nobody(engine: Engine) -> None:
    long = ask("word " * (CONTEXT + 100), 99)

    async def beside() -> tuple[object, object]:
        good = asyncio.ensure_future(engine.generate([ask("Say hello.", n, max_tokens=20) for n in range(3)]))
        bad = asyncio.ensure_future(engine.generate([ask("Fine.", 98), long]))
        done = await asyncio.gather(good, bad, return_exceptions=True)
        return done[0], done[1]

    good, bad = asyncio.run(beside())
    assert isinstance(good, list)
    assert len(good) == 3
    assert isinstance(bad, EngineError)
    assert not bad.retryable
    assert "'r99'" in str(bad)
    assert str(CONTEXT) in str(bad)


def test_a_cancelled_call_leaves_the_engine_at_work(engine: Engine) -> None:
    async def cancelled() -> list[str]:
        call = asyncio.ensure_future(
            engine.generate([ask("Talk on and on.", n, max_tokens=400) for n in range(4)])
        )
        await asyncio.sleep(0.04)  # the synthetic engine is waiting, the others tokenize or decode
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return [
            completion.request_id for completion in await engine.generate([ask("Hello.", 7, max_tokens=4)])
        ]

    assert asyncio.run(asyncio.wait_for(cancelled(), 300)) == ["r7"]


def test_a_request_says_exactly_one_prompt(engine: Engine) -> None:
    with pytest.raises(
        EngineError, match="exactly one of messages, prompt and prompt_tokens; found none"
    ) as caught:
        answers(engine, Request(id="r0", seed=1, sampling=Sampling()))
    assert not caught.value.retryable


def test_prompt_tokens_are_taken_as_they_are(engine: Engine) -> None:
    request = Request(id="r0", seed=3, sampling=Sampling(max_tokens=4), prompt_tokens=(504, 3575, 282, 4649))
    (completion,) = answers(engine, request)
    assert completion.prompt_tokens == 4


def test_a_plain_prompt_has_no_chat_template_around_it(engine: Engine, kind: str) -> None:
    plain = Request(id="p", seed=3, sampling=Sampling(max_tokens=4), prompt="The colour of the sea is")
    (bare,) = answers(engine, plain)
    (chat,) = answers(engine, ask("The colour of the sea is"))
    assert 0 < bare.prompt_tokens < chat.prompt_tokens


def test_an_adapter_changes_what_is_written(
    kind: str, request: pytest.FixtureRequest, engine: Engine
) -> None:
    question = ask("Why is the sky blue?", temperature=0.0, logprobs=1)
    if kind == "vllm":
        over = request.getfixturevalue("adapted_vllm")
        (without,), (with_adapter,) = answers(engine, question), answers(over, question)
    else:
        base: ModelWeights = request.getfixturevalue("weights")
        plain = serve(kind, base, max_model_len=CONTEXT) if kind == "synthetic" else engine
        over = serve(kind, request.getfixturevalue("adapted"), max_model_len=CONTEXT)
        try:
            (without,), (with_adapter,) = answers(plain, question), answers(over, question)
        finally:
            asyncio.run(over.close())
    assert without.logprobs != with_adapter.logprobs


def test_what_it_cannot_honor_is_refused_before_it_starts(kind: str, engine: Engine) -> None:
    if "regex" in engine.capabilities:
        pytest.skip("this engine honors everything")
    with pytest.raises(
        EngineError, match=f"'r0' needs regex, which the engine '{kind}' does not offer"
    ) as caught:
        answers(engine, ask("A number.", regex="[0-9]+"))
    assert not caught.value.retryable
