"""What the plan finds in a row without a model is what the training finds, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts import registry
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.data.encode import RowEncoder
from gristmill.trainer.data.first_look import first_look
from gristmill.trainer.data.read_rows import (
    read_reward,
    read_scored_pair,
    read_strength,
    read_target,
    row_weight,
)
from gristmill.trainer.data.turns import is_weighted
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.step import TrainStep

TEXT = {"prompt": "ab", "response": "cd"}
PAIR = {"prompt": "ab", "chosen": "cd", "rejected": "xyz"}
SAMPLED = {"prompt": "ab", "response_tokens": [20, 21, 1], "logprobs": [-0.5] * 3, "reward": 1, "topic": "a"}
USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
#: Method, its settings, a row for it, and changes of the row with which it cannot be trained on.
CASES: list[tuple[str, dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = [
    ("sft", {}, TEXT, [
        {"response": ""}, {"response": None}, {"response": 5}, {"prompt": None}, {"finish": "length"},
        {"weight": -1}, {"messages": {"role": "user"}}, {"messages": [USER]}, {"messages": [USER, None]},
        {"messages": [USER, {"role": "assistant", "content": 3}]}, {"tools": "no json"},
    ]),
    ("sft", {"train_on": "user"}, TEXT, [{"prompt": None}]),
    ("cft", {}, {"question": "1+1?", "response": "3", "critique": "no, 2"}, [
        {"critique": ""}, {"question": 4},
    ]),
    ("dpo", {}, PAIR, [
        {"chosen": ""}, {"chosen": None}, {"rejected": "cd"}, {"chosen": 5}, {"prompt": ""},
        {"chosen": [USER, ANSWER], "rejected": [{"role": "user", "content": "other"}, ANSWER]},
        {"chosen": [{"content": "x"}]}, {"weight": "heavy"}, {"chosen": " "},
    ]),
    ("dpo", {"train_on": "user"}, {"chosen": [USER], "rejected": [{"role": "user", "content": "z"}]}, [
        {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "z"}]},
        {"chosen": [{"role": "user", "content": " "}]},
    ]),
    ("kto", {}, TEXT | {"passed": True}, [{"passed": 1}, {"passed": None}, {"response": ""}]),
    ("reward", {}, PAIR, [{"chosen": "xyz"}, {"margin": "wide"}, {"rejected": ""}]),
    ("reward", {"loss": "regression"}, TEXT | {"target": 0.5}, [{"target": None}, {"prompt": None}]),
    ("grpo", {"group": "topic"}, SAMPLED, [
        {"response_tokens": None}, {"logprobs": [-0.5]}, {"reward": "good"}, {"topic": None},
        {"prompt": None}, {"tools": "no json"},
    ]),
    ("text", {}, {"text": "abcd"}, [{"text": ""}, {"text": None}, {"text": 5}, {"weight": 0}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "row", "changes"), CASES, ids=lambda value: str(value)[:12])
def test_a_look_without_a_model_finds_what_the_training_finds(
    name: str,
    options: dict[str, Any],
    row: dict[str, Any],
    changes: list[dict[str, Any]],
    make_model: Callable[..., Path],
    context: Any,
) -> None:
    path = make_model()
    context.models["base"] = ModelWeights("base", path, "digest", None)
    kind = registry.find("train", name)
    assert kind is not None
    step = kind.model_validate({"model": "base", "max_length": 128, **options})
    assert isinstance(step, TrainStep)
    encoder = RowEncoder.of(step, step.objective(context), step.encoder(path), 400)
    step.check_row({"_id": "fit", **row})
    assert encoder.examples([{"_id": "fit", **row}])[1] == []
    for change in changes:
        changed = {"_id": "unfit", **row, **change}
        with pytest.raises(ValueError) as found:  # noqa: PT011  # the message is compared below
            step.check_row(changed)
        (left_out,) = encoder.examples([changed])[1]
        assert left_out.message == str(found.value)
        assert left_out.reason == (found.value.reason if isinstance(found.value, Unfit) else "other")


def test_decimals_which_sql_writes_are_numbers() -> None:
    half = Decimal("0.5")
    assert row_weight({"weight": half}) == 0.5
    assert read_reward({"score": half}, "score") == 0.5
    assert read_scored_pair({**PAIR, "margin": half})[1] == 0.5
    assert read_strength({**PAIR, "strength": half})[1] == 0.5
    assert read_target("target")({**TEXT, "target": half})[1] == 0.5
    assert is_weighted({"weight": half})
    assert not is_weighted({"weight": Decimal("0.0")})
    with pytest.raises(Unfit, match=r"its weight is Decimal\('0.0'\), not a positive number"):
        row_weight({"weight": Decimal("0.0")})


def test_the_sentence_says_what_will_happen() -> None:
    def check(row: dict[str, Any]) -> None:
        if row["bad"]:
            raise Unfit("not a pair", "chosen and rejected are the same")

    rows = [{"_id": f"row {n}", "bad": n > 3} for n in range(1, 6)]
    what = "2 of its 5 rows cannot be trained on (2 not a pair); row 4: chosen and rejected are the same. "
    assert first_look(rows[:3], check, 0.2, whole=True) is None
    assert first_look(rows, check, 0.5, whole=True) == f"{what}They will be left out"
    assert first_look(rows, check, 0.2, whole=True) == (
        f"{what}The training will stop: unfit_limit allows 20%"
    )
    assert first_look(rows, check, 0.0, whole=False) == (
        f"{what.replace('its 5', 'its first 5')}The training will stop if all rows are like these: "
        "unfit: refuse allows none"
    )
