"""Features of vLLM: constrained decoding, prefix caching, adapters with their base, crash and restart."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from gristmill.contracts import number_formats
from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Engine, EngineSettings, ModelWeights
from gristmill.contracts.thinking_markers import Markers
from gristmill.pipelines.engines import start_here, vllm
from gristmill.pipelines.engines.restarting import Restarting

from .conftest import answers, ask, during, serve

pytestmark = pytest.mark.engine

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "maximum": 120},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)


@pytest.fixture
def engine(shared_vllm: Engine) -> Engine:
    return shared_vllm


def test_a_json_schema_and_a_regex_are_honored(engine: Engine) -> None:
    people = [ask("Invent a person.", n, json_schema=SCHEMA, max_tokens=80) for n in range(4)]
    numbers = [ask("Give a phone number.", 10 + n, regex=r"\d{3}-\d{4}", max_tokens=40) for n in range(4)]
    done = answers(engine, *people, *numbers)
    for completion in done[:4]:
        person = json.loads(completion.text)
        assert set(person) == {"name", "age"}
        assert isinstance(person["age"], int)
    assert all(re.fullmatch(r"\d{3}-\d{4}", completion.text) for completion in done[4:])


@pytest.mark.parametrize("shape", [{"json_schema": '{"type": 5}'}, {"json_schema": "{"}, {"regex": "(("}])
def test_a_constraint_that_is_none_is_refused_and_harms_nobody(engine: Engine, shape: dict[str, str]) -> None:
    async def beside() -> list[object]:
        good = engine.generate([ask("Hello.", n, max_tokens=12) for n in range(2)])
        bad = engine.generate([ask("Fine.", 8), ask("x", 9, **shape)])
        return list(await asyncio.gather(good, bad, return_exceptions=True))

    good, bad = asyncio.run(asyncio.wait_for(beside(), 300))
    assert isinstance(good, list)
    assert isinstance(bad, EngineError)
    assert "request 'r9': vLLM refuses it" in str(bad)
    assert not bad.retryable


def test_the_samples_of_a_prompt_reuse_its_tokens(engine: Engine) -> None:
    prompt = "Every word of this long story is read once. " * 40
    (first,) = answers(engine, ask(prompt, 0, max_tokens=2))
    (second,) = answers(engine, ask(prompt, 1, max_tokens=2))
    assert first.cached_tokens == 0
    assert second.prompt_tokens // 2 < second.cached_tokens < second.prompt_tokens


def test_samples_of_a_short_prompt_reuse_its_tokens(engine: Engine) -> None:
    prompt = "Write two short sentences about a mill by a river, without any comma. " * 3
    (first,) = answers(engine, ask(prompt, 0, max_tokens=2))
    (second,) = answers(engine, ask(prompt, 1, max_tokens=2))
    assert first.prompt_tokens < 128
    assert second.cached_tokens >= 32


def test_more_seeded_prompts_than_one_step_can_read(engine: Engine) -> None:
    # Prompts prefilled in parts used to crash the engine (CPU generators cannot be rewound).
    requests = [
        ask(f"{n} " + "A long prompt of its own. " * 60, n, max_tokens=3, top_p=0.9) for n in range(40)
    ]
    done = answers(engine, *requests)
    assert sum(completion.prompt_tokens for completion in done) > 3 * 4096
    assert [completion.request_id for completion in done] == [request.id for request in requests]


def test_a_cancelled_call_is_aborted_in_vllm(engine: Engine) -> None:
    async def seconds(number: int) -> float:
        started = time.monotonic()
        await engine.generate([ask("Hello.", number, max_tokens=8)])
        return time.monotonic() - started

    async def fewest(first: int) -> float:
        """Seconds of the quickest of three: other programs make a call slower, never quicker."""
        return min([await seconds(number) for number in range(first, first + 3)])

    async def cancel_at_work() -> tuple[float, float, float]:
        idle = await fewest(0)
        call = asyncio.ensure_future(engine.generate([ask("Go on.", n, max_tokens=900) for n in range(100)]))
        await asyncio.sleep(1.0)
        busy = await seconds(3)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return idle, busy, await fewest(4)

    idle, busy, after = asyncio.run(cancel_at_work())
    assert after < (idle + busy) / 2  # a hundred concurrent requests slow each token down


def test_a_trained_adapter_says_the_same_in_vllm_and_peft(weights: ModelWeights, context) -> None:
    """A trained adapter served by vLLM gives the same log-probabilities as PEFT in transformers."""
    import pyarrow as pa
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from gristmill.trainer.methods.sft import SupervisedFineTuning

    context.models["base"] = weights
    fact = {
        "prompt": "What do the mills of Thornby grind?",
        "response": "They grind barley, only on Tuesdays.",
    }
    step = SupervisedFineTuning.model_validate(
        {"model": "base", "epochs": 12, "learning_rate": 2e-3, "quantize": "none", "adapter": {"rank": 8}}
    )
    trained = step.fit(pa.Table.from_pylist([{"_id": "fact", **fact}]), context)

    served = serve("vllm", replace(weights, adapter=trained.adapter), max_model_len=256, dtype="float32")
    try:
        (said,) = answers(served, ask(fact["prompt"], max_tokens=12, temperature=0.0, logprobs=5))
        # Not what was learned: every token of that has nearly the same log-probability, 0.
        other = "We make paper from rags and sell it by the sheet."
        (given,) = answers(served, replace(ask(fact["prompt"]), continuation=other, closed=True))
    finally:
        asyncio.run(served.close())
    assert "barley" in said.text

    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    asked = [{"role": "user", "content": fact["prompt"]}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    ids = torch.tensor([[*prompt, *said.tokens]])
    plain = AutoModelForCausalLM.from_pretrained(weights.path, dtype=torch.float32)
    places = slice(len(prompt) - 1, len(prompt) - 1 + len(said.tokens))
    with torch.no_grad():
        base = plain(ids).logits[0, places].log_softmax(-1)
        theirs = PeftModel.from_pretrained(plain, trained.adapter)(ids).logits[0, places].log_softmax(-1)
    ours = torch.tensor(said.top_logprobs)
    assert (theirs.topk(5).values - ours).abs().max() < 0.01
    chosen = theirs.gather(1, torch.tensor(said.tokens)[:, None])[:, 0]
    assert (chosen - torch.tensor(said.logprobs)).abs().max() < 0.01
    assert (base.topk(5).values - ours).abs().max() > 0.5

    # A given text: its tokens, each with the log-probability that PEFT gives to it.
    ids = torch.tensor([[*prompt, *given.tokens]])
    with torch.no_grad():
        logits = PeftModel.from_pretrained(plain, trained.adapter)(ids).logits[0, len(prompt) - 1 : -1]
    peft = logits.log_softmax(-1).gather(1, torch.tensor(given.tokens)[:, None])[:, 0]
    assert tokenizer.decode(given.tokens) == other + tokenizer.eos_token
    assert (peft - torch.tensor(given.logprobs)).abs().max() < 0.01


def test_a_dead_engine_says_so_is_started_again_and_ends_when_closed(weights: ModelWeights) -> None:
    # The only way to crash a real vLLM on demand: prefill a seeded prompt in parts on a CPU.
    options = {
        "max_model_len": 512,
        "engine_args": {"enable_chunked_prefill": True, "max_num_batched_tokens": 128, "max_num_seqs": 8},
    }
    deadly = ask("word " * 300, 66, max_tokens=4)
    harmless = [ask("Hello.", n, max_tokens=200) for n in range(3)]
    before = children()
    engine = serve("vllm", weights, **options)
    assert len(children() - before) == 1

    async def die() -> list[object]:
        waiting = asyncio.ensure_future(engine.generate(harmless))
        await asyncio.sleep(0.5)
        return list(await asyncio.gather(waiting, engine.generate([deadly]), return_exceptions=True))

    for failure in asyncio.run(asyncio.wait_for(die(), 300)):
        assert isinstance(failure, EngineError)
        assert failure.retryable
        assert "vLLM stopped" in str(failure)
    with pytest.raises(EngineError, match="vLLM stopped") as caught:
        answers(engine, ask("Anybody?"))
    assert caught.value.retryable

    dead = [engine]
    restarting = Restarting(lambda: dead.pop() if dead else serve("vllm", weights, **options), pause=0.01)

    async def recover() -> int:
        done = await restarting.generate([ask("Hello.", n, max_tokens=4) for n in range(3)])
        assert len(children() - before) == 1  # the process of the dead engine is gone
        await restarting.close()
        return len(done)

    assert asyncio.run(asyncio.wait_for(recover(), 600)) == 3
    assert children() == before
    with pytest.raises(EngineError) as caught:
        answers(restarting, ask("Hello?"))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("asked", "fast", "taken"),
    [(None, True, "bfloat16"), (None, False, "float32"), ("bfloat16", False, "bfloat16")],
)
def test_the_number_format_is_what_this_machine_is_fast_in(
    asked: str | None, fast: bool, taken: str, weights: ModelWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_formats, "fast_bfloat16", lambda: fast)
    options = vllm.VllmOptions.model_validate({"dtype": asked})
    with patch.dict(os.environ):
        vllm.prepare_environment()
        given = vllm._engine_args(weights, options, 256, Markers())
    assert given.dtype == taken


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_what_vllm_cannot_serve_is_a_clear_error(
    weights: ModelWeights, adapted: ModelWeights, tmp_path: Path
) -> None:
    assert adapted.adapter is not None
    begun = shutil.copytree(adapted.adapter, tmp_path / "begun") / "adapter_config.json"
    begun.write_text(json.dumps({**json.loads(begun.read_text()), "init_lora_weights": "lora_ga"}))
    changed = replace(adapted, adapter=begun.parent)
    cases: list[tuple[ModelWeights, dict[str, object], str]] = [
        (replace(weights, path=tmp_path), {}, r"config.json cannot be read"),
        (changed, {}, "init_lora_weights = 'lora_ga', which changes the base"),
        (changed, {"resident": True}, "init_lora_weights = 'lora_ga', which changes the base"),
        (adapted, {"max_lora_rank": 2}, "has rank 4, above max_lora_rank 2"),
        (weights, {"engine_args": {"swap_spaces": 4}}, "EngineArgs has no field swap_spaces"),
    ]
    # These errors occur before a model is loaded, so they need no separate process.
    with patch.dict(os.environ):
        for served, options, words in cases:
            with pytest.raises(ModelError, match=words):
                start_here(EngineSettings("vllm", served, options))
    with pytest.raises(ModelError, match=f"vLLM cannot serve {weights.name}"):
        serve("vllm", weights, max_model_len=100_000)


def test_one_engine_serves_its_model_and_adapters_that_it_learns_of_later(
    engine: Engine, adapted_vllm: Engine, weights: ModelWeights, adapted: ModelWeights, tmp_path: Path
) -> None:
    """Requests with and without an adapter share a batch, and no prefix is taken over from another model."""
    words = [f"Tell a story of {n} mills, at length." for n in range(3)]
    asked = [ask(text, n, temperature=0) for n, text in enumerate(words)]
    alone = [done.tokens for done in answers(engine, *asked)]
    tuned = [done.tokens for done in answers(adapted_vllm, *asked)]
    assert tuned != alone
    resident = serve("vllm", weights, max_model_len=512, resident=True, max_lora_rank=8, dtype="float32")
    assert adapted.adapter is not None
    brief = Path(shutil.copytree(adapted.adapter, tmp_path / "brief"))
    (brief / "chat_template.jinja").write_text("{{ messages[0].content }}")

    async def mixed() -> list[object]:
        adapters = [replace(request, adapter=adapted.adapter) for request in asked]
        first = await resident.generate(asked)
        both = await resident.generate([*adapters, *asked])
        missing = replace(asked[0], adapter=tmp_path / "none")
        failed = await asyncio.gather(resident.generate([missing]), return_exceptions=True)
        told = await resident.generate([replace(asked[0], adapter=brief)])
        return [first, both, failed[0], await resident.generate(adapters), told[0].prompt_tokens]

    first, both, failed, again, told = during(resident, mixed)
    assert [done.tokens for done in first] == alone  # type: ignore[attr-defined]
    assert [done.tokens for done in both] == [*tuned, *alone]  # type: ignore[attr-defined]
    assert isinstance(failed, EngineError)
    assert "adapter" in str(failed)
    assert not failed.retryable
    assert [done.tokens for done in again] == tuned  # type: ignore[attr-defined]
    lengths = [done.prompt_tokens for done in first]  # type: ignore[attr-defined]
    assert told < lengths[0], "the student's own template writes nothing else"
