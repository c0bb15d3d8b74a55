from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import EngineSettings, ModelWeights
from gristmill.contracts.outcomes import Failed, Kept, Outcome
from gristmill.filters.score.likelihood import Likelihood
from gristmill.pipelines.engines import start


@pytest.fixture
def tiny(context: Any, make_model: Callable[..., Path]) -> Iterator[Any]:
    """A context whose model `base` is a random one, served by transformers in float32."""
    weights = ModelWeights("base", make_model(), "digest")
    context.models["base"] = weights
    context.engines["base"] = start(EngineSettings("transformers", weights, {"dtype": "float32"}))
    yield context
    asyncio.run(context.engines["base"].close())


def scored(context: Any, *rows: dict[str, Any], **parameters: Any) -> list[Outcome]:
    apply = Likelihood.model_validate({"model": "base", **parameters}).open(context)
    numbered = [{"_id": f"row{number}", **row} for number, row in enumerate(rows)]
    outcomes = asyncio.run(apply(numbered))
    assert all(len(own) == 1 for own in outcomes)
    return [own[0] for own in outcomes]


def values(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Kept), outcome
    return outcome.row


QUESTION = {"role": "user", "content": "What is flour?"}
ROW = {"prompt": "What is flour?", "response": "Ground grain."}


def test_the_trainers_own_loss_on_the_row_is_the_same(tiny: Any) -> None:
    from gristmill.trainer.methods.sft import SupervisedFineTuning

    talk = [QUESTION, {"role": "assistant", "content": "Meal?"}, {"role": "user", "content": "Finer."}]
    rows = [ROW, {"messages": [*talk, {"role": "assistant", "content": "Then flour."}]}]
    found = [values(each) for each in scored(tiny, *rows, end_of_turn=True)]
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base",
            "epochs": 1,
            "quantize": "none",
            "adapter": {"rank": 2},
            "max_length": 128,
            "dtype": "fp32",
            "train_on": "last",
        }
    )
    table = pa.Table.from_pylist(
        [{"_id": f"row{n}", "prompt": None, "messages": None, **r} for n, r in enumerate(rows)]
    )
    first = step.fit(table, tiny).history.to_pylist()[0]
    losses = dict(zip(first["rows"], first["row_loss"], strict=True))
    assert set(losses) == {"row0", "row1"}
    for number, own in enumerate(found):
        assert -own["mean_logprob"] == pytest.approx(losses[f"row{number}"], abs=1e-3)


def test_sum_mean_perplexity_and_tokens_belong_together(tiny: Any) -> None:
    (plain, closed) = (values(scored(tiny, ROW, end_of_turn=end)[0]) for end in (False, True))
    assert plain["tokens"] == len("Ground grain.")  # the tests' tokenizer has one token per byte
    assert closed["tokens"] == plain["tokens"] + 1
    assert plain["logprob"] == pytest.approx(plain["mean_logprob"] * plain["tokens"])
    assert plain["perplexity"] == pytest.approx(math.exp(-plain["mean_logprob"]))
    assert closed["logprob"] < plain["logprob"] < 0


def test_the_prompt_is_masked_but_read(tiny: Any) -> None:
    long = {**ROW, "prompt": "What is flour? " * 8}
    short, longer = (values(each) for each in scored(tiny, ROW, long))
    assert short["tokens"] == longer["tokens"]
    assert short["logprob"] != pytest.approx(longer["logprob"], abs=1e-3)


def test_without_the_prompt_the_ratio_of_perplexities_is_the_difficulty(tiny: Any) -> None:
    emptied = {**ROW, "prompt": ""}
    own, bare = scored(tiny, ROW, emptied, unconditional=True)
    row, alone = values(own), values(bare)
    assert row["unconditional_logprob"] == pytest.approx(alone["logprob"], abs=1e-3)
    assert row["unconditional_mean_logprob"] == pytest.approx(alone["mean_logprob"], abs=1e-4)
    assert row["ifd"] == pytest.approx(row["perplexity"] / alone["perplexity"], rel=1e-3)
    assert alone["ifd"] == pytest.approx(1.0, abs=1e-3)
    assert row["ifd"] != pytest.approx(1.0, abs=1e-3)


def test_the_conversation_and_its_columns_are_the_same_text(tiny: Any) -> None:
    answer = {"role": "assistant", "content": ROW["response"]}
    rule = {"role": "system", "content": "Be brief."}
    rows = [{**ROW, "system": "Be brief."}, {"messages": [rule, QUESTION, answer]}]
    first, second = (values(each) for each in scored(tiny, *rows))
    assert first == second
    other = {"messages": [QUESTION, {"role": "assistant", "content": "x"}], "chosen": ROW["response"]}
    third, fourth = (
        values(each)
        for each in scored(
            tiny, other, {**ROW, "chosen": ROW["response"]}, response="chosen", system="Be brief."
        )
    )
    assert third == pytest.approx(fourth)
    assert fourth == pytest.approx(first)


def test_plain_text_has_no_template(tiny: Any) -> None:
    given = {"question": "The mill", "next": " turns"}
    plain = values(scored(tiny, given, chat=False, prompt="question", response="next", prefix="base_")[0])
    chat = values(scored(tiny, given, prompt="question", response="next", prefix="base_")[0])
    assert set(plain) == {"base_logprob", "base_mean_logprob", "base_perplexity", "base_tokens"}
    assert plain["base_tokens"] == chat["base_tokens"] == len(" turns")
    assert plain["base_logprob"] != pytest.approx(chat["base_logprob"], abs=1e-3)


def test_a_row_without_a_text_or_beyond_the_context_fails_alone(tiny: Any) -> None:
    rows = [
        ROW,
        {**ROW, "response": "x" * 300},
        {**ROW, "response": ""},
        {"prompt": "x", "response": None},
        {"messages": [QUESTION]},
        {**ROW, "prompt": "y" * 300},
        ROW,
    ]
    found = scored(tiny, *rows)
    assert values(found[0]) == pytest.approx(values(found[6]))
    errors = [outcome.error for outcome in found[1:6] if isinstance(outcome, Failed)]
    assert len(errors) == 5
    for error, words in zip(
        errors,
        [
            "a text to score of 300 tokens do not fit the context of 256",
            "the response is empty",
            "the last turn of the conversation is not the assistant's",
            "the last turn of the conversation is not the assistant's",
            "a prompt of 3",
        ],
        strict=True,
    ):
        assert words in error


def test_what_it_needs_is_found_when_planning() -> None:
    step = Likelihood.model_validate({"model": "base", "response": "chosen"})
    with pytest.raises(DataError, match="no column 'chosen'"):
        step.check_columns(["prompt", "chose"])
    with pytest.raises(DataError, match="the prompt is read from 'prompt' or 'messages'"):
        step.check_columns(["chosen", "question"])
    step.check_columns(["chosen", "messages"])
    plain = Likelihood.model_validate({"model": "base", "chat": False})
    with pytest.raises(DataError, match="no column 'response'"):
        plain.check_columns(["prompt", "messages"])
    assert step.needs() == {"model": {"likelihood"}}
    with pytest.raises(ValidationError, match="`prompt` requires `response`"):
        Likelihood.model_validate({"model": "base", "prompt": "question"})
