"""The rows of ``evaluate_on``: errors name the step, and rows that are left out are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.encode import RowEncoder
from gristmill.trainer.fit import _held_out_metrics, _held_out_rows
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
    held = _held_out_rows(STEP, context, encoder, STEP.objective(context))
    assert _held_out_metrics(held, 2.5) == {
        "held_out_loss": 2.5,
        "held_out_rows": 4,
        "held_out_left_out": {"empty response": 1},
    }
    assert _held_out_metrics(None, None) == {}


@pytest.mark.parametrize(
    ("responses", "said"), [([], "no rows to train on: there are none"), ([" "], "1 of 1 row cannot be")]
)
def test_an_error_of_held_out_rows_names_their_step(
    encoder: RowEncoder, context, responses: list[str], said: str
) -> None:
    context.tables["held"] = _rows(responses)
    with pytest.raises(DataError, match=f"evaluate_on, the held-out rows of 'held': {said}"):
        _held_out_rows(STEP, context, encoder, STEP.objective(context))
