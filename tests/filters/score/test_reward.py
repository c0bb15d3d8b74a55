from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import EngineSettings, ModelWeights, Request, Sampling
from gristmill.contracts.outcomes import Failed, Kept, Outcome
from gristmill.filters.score.reward import Reward
from gristmill.pipelines.engines import capabilities_of, start

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "num_labels": 1,
}


@pytest.fixture
def save_reward_model(tmp_path: Path, save_tokenizer: Callable[..., None]) -> Callable[..., ModelWeights]:
    """A function that saves a random reward model."""

    def save(**changes: Any) -> ModelWeights:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        torch.manual_seed(0)
        config = AutoConfig.for_model("llama", **{**SHAPE, **changes})
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3 if parameter.dim() > 1 else 1.0)
        path = tmp_path / "reward"
        model.save_pretrained(path)
        save_tokenizer(path)
        return ModelWeights("reward", path, "digest")

    return save


def served(context: Any, weights: ModelWeights, **options: Any) -> None:
    settings = {"task": "reward", "dtype": "float32", "batch_size": 3, **options}
    context.engines["reward"] = start(EngineSettings("transformers", weights, settings))


def rated(context: Any, *rows: dict[str, Any], **parameters: Any) -> list[Outcome]:
    numbered = [{"_id": f"row{number}", **row} for number, row in enumerate(rows)]
    apply = Reward.model_validate({"model": "reward", **parameters}).open(context)

    async def both() -> list[list[Outcome]]:
        try:
            return await apply(numbered)
        finally:
            await context.engines["reward"].close()

    return [own for (own,) in asyncio.run(both())]


TALK = [
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "So."},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "Then it was done, and all went home."},
]
ROWS = [
    {"prompt": "What is flour?", "response": "Ground grain."},
    {"prompt": "What is flour?", "response": "No."},
    {"messages": TALK},
    {"prompt": "Say.", "response": "word " * 20},
]


@pytest.mark.parametrize("pad", [1, None])
def test_the_reward_is_that_of_transformers(
    context: Any, save_reward_model: Callable[..., ModelWeights], pad: int | None
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    weights = save_reward_model(pad_token_id=pad)
    served(context, weights)
    found = rated(context, *ROWS)
    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    model = AutoModelForSequenceClassification.from_pretrained(weights.path, dtype=torch.float32).eval()
    for row, outcome in zip(ROWS, found, strict=True):
        turns = row.get("messages") or [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["response"]},
        ]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            expected = float(model(ids).logits[0, 0])
        assert isinstance(outcome, Kept)
        assert outcome.row["reward"] == pytest.approx(expected, abs=1e-4)


def test_a_row_beyond_the_context_fails_alone(
    context: Any, save_reward_model: Callable[..., ModelWeights]
) -> None:
    served(context, save_reward_model(pad_token_id=1))
    long = {"prompt": "x" * 300, "response": "y"}
    first, second, third = rated(context, ROWS[0], long, {"prompt": "x"}, column="quality")
    assert isinstance(first, Kept)
    assert set(first.row) == {"quality"}
    assert isinstance(second, Failed)
    assert "exceeds the context of 256 tokens" in second.error
    assert isinstance(third, Failed)
    assert "the last turn of the conversation is not the assistant's" in third.error


def test_what_is_no_reward_model_is_refused(
    context: Any, save_reward_model: Callable[..., ModelWeights], make_model: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match="is not a reward model: it is LlamaForCausalLM"):
        served(context, ModelWeights("base", make_model(), "d"))
    with pytest.raises(ModelError, match="with 3 labels; a reward model has"):
        served(context, save_reward_model(num_labels=3))
    students = {"adapter", "dora", "trained_parts"}
    assert capabilities_of("transformers", {"task": "reward"}) == {"reward"} | students
    assert "reward" not in capabilities_of("transformers")


def test_a_vllm_server_is_asked_to_classify_without_an_activation(
    context: Any, listen: Callable[..., Any]
) -> None:
    values = [2.5]

    def classified(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], object]:
        data = [{"index": 0, "label": None, "probs": values, "num_classes": len(values)}]
        return 200, {}, {"data": data, "usage": {"prompt_tokens": 7}}

    server = listen(classified)
    options = {"url": server.url, "model": "rm", "flavor": "vllm", "supports": ["reward"]}
    context.engines["reward"] = start(EngineSettings("openai", None, options))
    (outcome,) = rated(context, ROWS[0])
    assert isinstance(outcome, Kept)
    assert outcome.row == {"reward": 2.5}
    ((path, _, asked),) = server.seen
    assert path == "/classify"
    assert asked["use_activation"] is False
    assert [turn["content"] for turn in asked["messages"]] == list(ROWS[0].values())
    values.append(0.5)
    (outcome,) = rated(context, ROWS[0])
    assert isinstance(outcome, Failed)
    assert "the model 'rm' gives 2 numbers; a reward model gives one" in outcome.error


def test_a_model_that_generates_has_no_reward() -> None:
    engine = start(EngineSettings("synthetic", None, {}))
    turns = ({"role": "user", "content": "x"},)
    request = Request("r", 0, Sampling(temperature=0.0), messages=turns, reward=True)
    with pytest.raises(EngineError, match="'r' needs reward, which the engine 'synthetic' does not"):
        asyncio.run(engine.generate([request]))
