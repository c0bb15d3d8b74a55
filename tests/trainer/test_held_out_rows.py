"""Held-out rows: errors name their origin, rows that are left out are counted, a share is split off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.encode import RowEncoder
from gristmill.trainer.data.validation_split import split
from gristmill.trainer.held_out_rows import encode_held_out, held_out_metrics
from gristmill.trainer.methods.sft import SupervisedFineTuning

STEP = SupervisedFineTuning.model_validate({"model": "base", "max_length": 99, "evaluate_on": "held"})


@pytest.fixture
def encoder(save_tokenizer: Callable[..., None], tmp_path: Path) -> RowEncoder:
    save_tokenizer(tmp_path)
    return RowEncoder.of(STEP, STEP.objective(None), STEP.encoder(tmp_path), 258)  # type: ignore[arg-type]


def _rows(responses: list[str]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"_id": f"{n}", "prompt": f"Say {n}.", "response": text} for n, text in enumerate(responses)]
    )


def test_held_out_rows_that_are_left_out_are_counted(encoder: RowEncoder, context) -> None:
    context.tables["held"] = _rows(["ha", "ho", "hi", "hu", " "])
    held = encode_held_out(STEP, None, context, encoder, STEP.objective(context))
    assert held_out_metrics(held, 2.5) == {
        "held_out_loss": 2.5,
        "held_out_rows": 4,
        "held_out_left_out": {"empty response": 1},
    }
    assert held_out_metrics(None, None) == {}


@pytest.mark.parametrize(
    ("responses", "said"), [([], "no rows to train on: there are none"), ([" "], "1 of 1 row cannot be")]
)
def test_an_error_of_held_out_rows_names_their_step(
    encoder: RowEncoder, context, responses: list[str], said: str
) -> None:
    context.tables["held"] = _rows(responses)
    with pytest.raises(DataError, match=f"evaluate_on, the held-out rows of 'held': {said}"):
        encode_held_out(STEP, None, context, encoder, STEP.objective(context))


@pytest.mark.parametrize(
    ("size", "held"), [(0.25, 5), (3, 3), (1, 1), (0.01, None), (20, None), (0.999, None)]
)
def test_a_share_or_a_number_of_rows_is_held_out_by_chance(size: float, held: int | None) -> None:
    table = pa.table({"_id": [f"r{n}" for n in range(20)]})
    if held is None:
        with pytest.raises(DataError, match=f"validation_split: {size:g} of 20 rows leaves none that is"):
            split(table, size, 7)
        return
    kept, apart = split(table, size, 7)
    names = [part["_id"].to_pylist() for part in (kept, apart)]
    assert len(names[1]) == held
    assert sorted(names[0] + names[1]) == sorted(table["_id"].to_pylist())
    assert all(each == sorted(each, key=lambda name: int(name[1:])) for each in names)
    assert split(table, size, 7)[1].equals(apart)
    assert len({tuple(split(table, size, seed)[1]["_id"].to_pylist()) for seed in range(8)}) > 1


def test_samples_of_one_prompt_are_held_out_together() -> None:
    table = pa.table({"_id": [f"r{n}" for n in range(24)], "_parents": [[f"p{n // 4}"] for n in range(24)]})
    for seed in range(5):
        kept, apart = split(table, 0.3, seed)
        parents = [{parent for (parent,) in part["_parents"].to_pylist()} for part in (kept, apart)]
        assert apart.num_rows == 4
        assert not parents[0] & parents[1]


def test_held_out_rows_are_measured_told_and_not_trained_on(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "validation_split": 0.2, "max_length": 128, "adapter": {"rank": 2},
            "dtype": "fp32", "quantize": "none", "batch_rows": 14, "patience": 3,
        }
    )  # fmt: skip
    trained = step.fit(pa.Table.from_pylist(rows), stopping(tmp_path, make_model()))
    assert trained.left_out is not None
    apart = trained.left_out["row"].to_pylist()
    assert len(apart) == trained.metrics["held_out_rows"] == 3
    assert set(trained.left_out["reason"].to_pylist()) == {"held out"}
    assert trained.metrics["left_out"] == {}
    assert {row for each in trained.history["rows"].to_pylist() for row in each} == {
        row["_id"] for row in rows
    } - set(apart)
    assert trained.metrics["held_out_loss"] > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"validation_split": 0.1, "evaluate_on": "held"}, "both name held-out rows: remove one"),
        ({"validation_split": 2.5}, "2.5 is neither a share below 1 nor a whole number of rows"),
        ({"validation_split": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SupervisedFineTuning.model_validate({"model": "base", **settings})
