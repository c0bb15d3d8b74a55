"""``train: reward``: the losses in float64, the token that is scored, and the model in transformers and in
``score: reward``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

import gristmill
from gristmill.contracts.errors import DataError, ModelError
from gristmill.contracts.inference import EngineSettings, ModelWeights
from gristmill.filters.score.reward import Reward
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.engines import start_here
from gristmill.pipelines.view.silent import SilentView
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.reward_head import head_of
from gristmill.trainer.merging.sources import AdapterSource
from gristmill.trainer.methods.reward import RewardModelling
from gristmill.trainer.model.model_config import ModelConfig


@pytest.fixture
def judge(lab, context):
    """A function that makes an objective; the lab's model gets a head."""
    context.models["base"] = ModelWeights("base", lab.path, "digest", None)
    head = torch.randn(1, lab.model.config.hidden, generator=torch.Generator().manual_seed(3)).double()
    lab.model.score = torch.nn.Parameter(head)
    return lambda **options: RewardModelling(model="base", **options).objective(context)


def score(lab, turns: list[dict[str, str]], place: int = -1) -> torch.Tensor:
    text = lab.encoder.tokenizer.apply_chat_template(turns, tokenize=False)
    ids = lab.encoder.tokenizer.encode(text, add_special_tokens=False)
    hidden = lab.model(torch.tensor(ids), [len(ids)])
    return (hidden @ lab.model.score.T)[place, 0]


def turns(row: dict[str, Any], answer: str) -> list[dict[str, str]]:
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return [
        *system,
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row[answer]},
    ]


@pytest.mark.parametrize("center", [0.0, 0.3])
def test_the_loss_of_pairs_is_bradley_and_terrys(lab, pairs, judge, center: float) -> None:
    pairs[2]["margin"] = 1.5
    objective = judge(center=center)
    losses = []
    for row in pairs:
        better, worse = score(lab, turns(row, "chosen")), score(lab, turns(row, "rejected"))
        losses.append(-(1 / (1 + torch.exp(-(better - worse - row.get("margin", 0.0))))).log())
        losses[-1] = losses[-1] + center * (better + worse) ** 2
    examples = lab.encode(objective, pairs)
    whole = lab.check(objective, examples, losses, [row.get("weight", 1.0) for row in pairs], 1e-7)
    lab.same(lab.run(objective, examples, capacity=0), whole)


@pytest.mark.parametrize("center", [0.0, 0.3])
def test_a_strong_preference_counts_by_its_strength(lab, pairs, judge, center: float) -> None:
    rows = [{**row, "strength": n % 3 + 1} for n, row in enumerate(pairs)]
    losses = []
    for row in rows:
        better, worse = score(lab, turns(row, "chosen")), score(lab, turns(row, "rejected"))
        losses.append(-row["strength"] * (1 / (1 + torch.exp(-(better - worse)))).log())
        losses[-1] = losses[-1] + center * (better + worse) ** 2
    objective = judge(loss="scaled_bradley_terry", center=center)
    examples = lab.encode(objective, rows)
    lab.check(objective, examples, losses, [row.get("weight", 1.0) for row in rows], 1e-7)
    for strength, reason in ((None, "its 'strength' is None, not a number"), (0, "not a positive number")):
        with pytest.raises(ValueError, match=reason):
            lab.encode(objective, [{**pairs[0], "strength": strength}])
    with pytest.raises(DataError, match="no column 'strength'"):
        RewardModelling(model="base", loss="scaled_bradley_terry").check_columns(["chosen", "rejected"])


def test_the_loss_of_numbers_is_their_squared_error(lab, texts, judge) -> None:
    rows = [{**row, "quality": 0.5 * n} for n, row in enumerate(texts)]
    losses = [(score(lab, turns(row, "response")) - row["quality"]) ** 2 for row in rows]
    objective = judge(loss="regression", target="quality")
    examples = lab.encode(objective, rows)
    lab.check(objective, examples, losses, [row.get("weight", 1.0) for row in rows], 1e-7)
    with pytest.raises(ValueError, match="its 'quality' is None, not a number"):
        lab.encode(objective, [texts[0]])


def test_the_last_token_that_is_no_padding_is_scored(lab, texts, judge) -> None:
    objective = judge(loss="regression", target="weight")
    text = lab.encoder.tokenizer.apply_chat_template(turns(texts[1], "response"), tokenize=False)
    assert text.endswith("<|end|>\n")
    newline, end = lab.encoder.tokenizer.encode("\n", add_special_tokens=False)[0], lab.encoder.end_of_turn
    for padding, place in ((None, -1), (end, -1), (newline, -2)):
        objective.padding = padding
        (example,) = lab.encode(objective, [texts[1]])
        (tokens,) = example.sequences
        assert tokens.trained.index(True) - len(tokens.ids) == place
        _, _, rows = lab.run(objective, [example])
        wanted = (score(lab, turns(texts[1], "response"), place) - 2.5) ** 2
        assert rows[example.id] == pytest.approx(wanted.item(), rel=1e-7)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_transformers_and_score_reward_give_the_trained_scores(
    family: str, make_model: Callable[..., Path], pairs, context
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = make_model(family, pad_token_id=1)
    context.models["base"] = weights = ModelWeights("base", path, "digest", None)
    step = RewardModelling(
        model="base", quantize="none", dtype="fp32", adapter={"rank": 2}, epochs=6, learning_rate=0.01,
        schedule="constant", max_length=128, train_norms=family == "qwen3",
    )  # fmt: skip
    trained = step.fit(pa.Table.from_pylist(pairs), context)
    assert trained.metrics["loss_first"] == pytest.approx(0.6931, abs=1e-3)
    assert trained.metrics["loss_last"] < 0.5 * trained.metrics["loss_first"]
    assert trained.metrics["accuracy_last"] == 1.0

    alone = AutoModelForSequenceClassification.from_pretrained(
        str(trained.adapter), num_labels=1, dtype=torch.float32
    )
    base = AutoModelForSequenceClassification.from_pretrained(str(path), num_labels=1, dtype=torch.float32)
    wrapped = PeftModel.from_pretrained(base, str(trained.adapter))
    tokenizer = AutoTokenizer.from_pretrained(str(path))
    settings = EngineSettings(
        "transformers",
        ModelWeights("base", path, "digest", trained.adapter),
        {"task": "reward", "dtype": "float32"},
    )
    context.engines["judge"] = engine = start_here(settings)
    asked = [
        {"_id": f"{n}-{side}", "prompt": row["prompt"], "response": row[side], "system": row.get("system")}
        for n, row in enumerate(pairs)
        for side in ("chosen", "rejected")
    ]

    async def rated() -> list[float]:
        outcomes = await Reward(model="judge").open(context)(asked)
        await engine.close()
        return [outcome[0].row["reward"] for outcome in outcomes]  # type: ignore[union-attr]

    served = asyncio.run(rated())
    for row, found in zip(asked, served):
        text = tokenizer.apply_chat_template(turns(row, "response"), tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        for model in (alone, wrapped):
            with torch.no_grad():
                assert model.eval()(input_ids=ids).logits.item() == pytest.approx(found, abs=1e-4)
    _check_merged(path, trained.adapter, context.workdir / "merged", asked, served)
    # The trainer's own last losses are of these scores, up to the last step.
    assert all(better > worse for better, worse in zip(served[::2], served[1::2]))

    # A further training starts from the head too.
    context.models["base"] = ModelWeights("base", path, "digest", trained.adapter)
    context.workdir = context.workdir / "further"
    further = step.model_copy(update={"learning_rate": 1e-9}).fit(pa.Table.from_pylist(pairs), context)
    assert further.metrics["loss_first"] < trained.metrics["loss_last"] + 1e-3
    assert weights.adapter is None


def _check_merged(
    path: Path, adapter: Path, out: Path, asked: list[dict[str, Any]], served: list[float]
) -> None:
    """The merged model is a reward model with the head that was trained."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    assert main(["merge", str(path), str(adapter), "--out", str(out)]) == 0
    assert not list(out.parent.glob("merged.*"))
    merged = AutoModelForSequenceClassification.from_pretrained(str(out), dtype=torch.float32).eval()
    assert merged.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(str(out))
    for row, found in zip(asked, served):
        text = tokenizer.apply_chat_template(turns(row, "response"), tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            assert merged(input_ids=ids).logits.item() == pytest.approx(found, abs=1e-4)
    weights = ModelWeights("judge", out, "digest", None)
    start_here(EngineSettings("transformers", weights, {"task": "reward", "dtype": "float32"}))
    with pytest.raises(ModelError, match="each have the head of a reward model, and a model has one"):
        merge(path, [adapter, adapter], out.with_name("two"))
    source, config = AdapterSource(adapter), ModelConfig.read(path)
    with pytest.raises(ModelError, match="no model of type 'granite' with such a head"):
        head_of([source], [adapter], path, replace(config, family="granite"))
    with pytest.raises(ModelError, match=r"its head is \[1, 64\], but .* needs \[1, 8\]"):
        head_of([source], [adapter], path, replace(config, hidden=8))


def test_settings_and_rows_that_do_not_fit_are_refused(lab, pairs, judge) -> None:
    with pytest.raises(ValidationError, match="the head is saved with an adapter of low rank"):
        RewardModelling(model="base", adapter={"kind": "delta"})
    with pytest.raises(ValidationError, match="center is for loss: bradley_terry"):
        RewardModelling(model="base", loss="regression", center=0.1)
    with pytest.raises(DataError, match="no column 'target'"):
        RewardModelling(model="base", loss="regression").check_columns(["prompt", "response"])
    with pytest.raises(ValueError, match="its 'margin' is 'wide', not a number"):
        lab.encode(judge(), [{**pairs[0], "margin": "wide"}])


PIPELINE = """
gristmill: 1
name: rated
models:
  rater: {{engine: transformers, task: reward, path: "{model}", dtype: float32}}
steps:
  pairs: {{source: jsonl, path: "{rows}"}}
  judge:
    {{train: reward, from: pairs, model: rater, quantize: none, dtype: fp32, adapter: {{rank: 2}}, epochs: 4,
      learning_rate: 0.01, max_length: 128}}
  better: {{score: reward, from: pairs, model: judge, response: chosen}}
  worse: {{score: reward, from: better, model: judge, response: rejected, column: other}}
"""


@pytest.mark.engine
def test_a_pipeline_trains_a_reward_model_and_asks_it(
    tmp_path: Path, make_model: Callable[..., Path], pairs
) -> None:
    rows, file = tmp_path / "pairs.jsonl", tmp_path / "file.yaml"
    for row in pairs:
        del row["_id"]
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    file.write_text(PIPELINE.format(model=make_model(), rows=rows))
    run = gristmill.run(file, tmp_path / "run", observer=SilentView(sys.stderr))
    rated = run["worse"].to_arrow().to_pylist()
    assert len(rated) == len(pairs)
    assert all(row["reward"] > row["other"] for row in rated)
