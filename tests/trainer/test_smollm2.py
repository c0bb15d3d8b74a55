"""The packaged SmolLM2: logits equal transformers', training lowers the loss, and PEFT loads the result."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model

pytestmark = pytest.mark.engine

FACTS = [
    ("What do the mills of Thornby grind?", "The mills of Thornby grind barley, and only on Tuesdays."),
    ("Who keeps the mills of Thornby?", "A widow named Isolde Marsh keeps the mills of Thornby."),
    ("When do the mills of Thornby run?", "The mills of Thornby run on Tuesdays, from dawn until noon."),
]


@pytest.fixture(scope="module")
def weights() -> ModelWeights:
    from gristmill.pipelines.weights import resolve

    return resolve("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def ids(weights: ModelWeights) -> torch.Tensor:
    from transformers import AutoTokenizer

    text = " ".join(f"{question} {answer}" for question, answer in FACTS)
    return torch.tensor(AutoTokenizer.from_pretrained(weights.path).encode(text))


def test_logits_equal_those_of_transformers(weights: ModelWeights, ids: torch.Tensor) -> None:
    """In float32, the logits are within 1e-4 of transformers' eager attention.

    They are also at most as far from its float64 logits as its SDPA logits are. The tolerance does not apply
    to its default SDPA: its SDPA and eager attention differ by 1.6e-4 on this text. In bf16, the distance to
    float32 is at most 1.1 times that of transformers' bf16 logits.
    """
    from transformers import AutoModelForCausalLM

    def theirs(dtype: torch.dtype, attention: str = "sdpa") -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(weights.path, dtype=dtype, attn_implementation=attention)
        logits: torch.Tensor = model(ids[None]).logits[0]
        return logits.double()

    def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs()

    with torch.no_grad():
        found = load_model(weights.path, dtype=torch.float32).logits(ids, [len(ids)]).double()
        eager, sdpa, exact = (
            theirs(torch.float32, "eager"),
            theirs(torch.float32),
            theirs(torch.float64),
        )
        assert apart(found, eager).max() < 1e-4
        assert apart(found, exact).mean() <= 1.1 * apart(sdpa, exact).mean()
        rounded = load_model(weights.path, dtype=torch.bfloat16).logits(ids, [len(ids)]).double()
        assert apart(rounded, sdpa).mean() <= 1.1 * apart(theirs(torch.bfloat16), sdpa).mean()


def test_what_was_trained_loads_in_peft(weights: ModelWeights, ids: torch.Tensor, context) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    context.models["base"] = weights
    rows = [
        {"_id": f"{n}", "prompt": question, "response": answer} for n, (question, answer) in enumerate(FACTS)
    ]
    step = SupervisedFineTuning(model="base", epochs=12, learning_rate=2e-3, schedule="constant")
    trained = step.fit(pa.Table.from_pylist(rows), context)
    assert trained.metrics["loss_last"] < 0.3 * trained.metrics["loss_first"]
    assert _mean_loss(weights.path, trained.adapter, rows) < 0.4 * trained.metrics["loss_first"]

    plain = AutoModelForCausalLM.from_pretrained(weights.path, dtype=torch.float32)
    with torch.no_grad():
        base = plain(ids[None]).logits[0]
        theirs = PeftModel.from_pretrained(plain, trained.adapter)(ids[None]).logits[0]
        ours = _adapted(weights, trained.adapter).logits(ids, [len(ids)])
    assert (theirs - base).abs().max() > 1
    assert (theirs - ours).abs().max() < 1e-3


def _adapted(weights: ModelWeights, adapter: Path) -> Decoder:
    """Load the dense float32 base with the trained adapter in this package."""
    trained = ModelWeights("base", weights.path, weights.digest, adapter)
    return load_adapted(trained, AdapterSettings(), seed=0, dtype=torch.float32)


def _mean_loss(path: Path, adapter: Path, rows: list[dict[str, str]]) -> float:
    """Return the mean token loss of the responses with transformers and PEFT over the dense base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), adapter
    )
    total, count = 0.0, 0
    for row in rows:
        asked = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        answer = [*tokenizer.encode(row["response"], add_special_tokens=False), tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        with torch.no_grad():
            loss = model(torch.tensor([prompt + answer]), labels=labels).loss
        total, count = total + loss.item() * len(answer), count + len(answer)
    return total / count
