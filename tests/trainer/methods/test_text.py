"""Continued pretraining as a step: in order, on all tokens, mixed by weight, and to the bit after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.training import Trained
from gristmill.trainer.methods.text import ContinuedPretraining


def step(**settings: Any) -> ContinuedPretraining:
    defaults: dict[str, Any] = {
        "batch_tokens": 64,
        "max_length": 32,
        "pack_tokens": 64,
        "learning_rate": 1e-2,
        "adapter": {"rank": 4, "alpha": 8},
        "dtype": "fp32",
    }
    return ContinuedPretraining.model_validate({"model": "base", **defaults, **settings})


def texts(count: int, word: str = "count") -> list[dict[str, Any]]:
    return [{"_id": f"{word}-{n:02d}", "text": f"{word} " * (n % 7 + 1)} for n in range(count)]


def test_all_tokens_are_trained_on_in_the_order_of_the_rows(make_model, tmp_path: Path, stopping) -> None:
    rows = texts(20)
    trained = step(shuffle=False).fit(pa.Table.from_pylist(rows), stopping(tmp_path / "w", make_model()))
    history = trained.history.to_pydict()
    assert sum(history["tokens"]) == sum(len(row["text"]) + 1 for row in rows)
    # The rows of a step are packed, and its steps follow each other. A text that is cut is in two of them.
    firsts = [min(ids) for ids in history["rows"]]
    assert firsts == sorted(firsts)
    assert all(max(one) <= min(other) for one, other in zip(history["rows"], history["rows"][1:]))
    assert trained.metrics["rows"] == 20
    assert trained.metrics["loss_last"] < trained.metrics["loss_first"]
    card = (trained.adapter / "README.md").read_text()
    assert "continued pretraining" in card
    assert "chat template" not in card


def test_a_mixture_that_is_stopped_goes_on_to_the_same_bits(
    make_model, tmp_path: Path, stopping, stopped, digest: Callable[[Trained], str]
) -> None:
    rows = [*texts(8, "some"), *texts(24, "more")]
    inputs = pa.DictionaryArray.from_arrays(pa.array([0] * 8 + [1] * 24, pa.int32()), ["wiki", "code"])
    table = pa.Table.from_pylist(rows).append_column("_input", inputs)
    path, mixed = make_model(), step(mix=[1, 2], checkpoint_every=2)
    whole = mixed.fit(table, stopping(tmp_path / "whole", path))
    drawn = whole.metrics["drawn"]
    assert drawn["wiki"]["share"] == pytest.approx(1 / 3, abs=0.04)
    assert drawn["wiki"]["passes"] == 1
    assert sum(each["tokens"] for each in drawn.values()) == whole.metrics["tokens"]
    with pytest.raises(stopped):
        mixed.fit(table, stopping(tmp_path / "parts", path, stop_at=3))
    parts = mixed.fit(table, stopping(tmp_path / "parts", path))
    assert digest(parts) == digest(whole)
    assert parts.history.drop(["seconds"]).equals(whole.history.drop(["seconds"]))
    assert parts.metrics["drawn"] == drawn


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mix": [1]}, "at least 2"),
        ({"mix": [1, 0]}, "greater than 0"),
        ({"mix": [1, float("inf")]}, "finite"),
        ({"mix_until": "all_exhausted"}, "mix_until needs mix"),
        ({"mix": [1, 1], "mix_until": "never"}, "first_exhausted"),
        ({"shuffle": "sometimes"}, "boolean"),
        ({"chat_template": "chatml"}, "chat_template has no effect on plain text"),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs has no effect on plain text"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        step(**given)


def test_weights_must_fit_the_inputs() -> None:
    mixed = step(mix=[1, 2])
    mixed.check_inputs(["wiki", "code"])
    with pytest.raises(
        DataError, match=r"mix: 2 weights for 3 steps in `from` \(a, b, c\): give one for each"
    ):
        mixed.check_inputs(["a", "b", "c"])


def test_the_estimate_counts_whole_texts_up_to_the_last_step() -> None:
    assert step(epochs=2).estimate(100).trained_tokens == 2 * 100 * 600
    assert step(max_steps=5).estimate(100).trained_tokens == 5 * 64
    assert step(max_steps=5, batch_rows=4).estimate(100).trained_tokens == 100 * 600
