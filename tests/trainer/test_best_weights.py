"""Early stopping, the best weights, a bound on the steps, and NEFTune's noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from gristmill.contracts.errors import StoreError
from gristmill.contracts.training import Trained
from gristmill.trainer.best_weights import BestWeights, exhausted
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import noisy
from gristmill.trainer.model.loading import load_model

Fit = Callable[..., Trained]


@pytest.fixture
def fit(make_model, rows, stopping, tmp_path: Path) -> Fit:
    """Train on some rows; others, with opposite content, are held out: their loss rises after a while."""
    path, table = make_model(), pa.Table.from_pylist(rows)
    held = pa.Table.from_pylist(
        [{**row, "_id": f"h{n}", "response": "one two"} for n, row in enumerate(rows[:3])]
    )

    def run(name: str, stop_at: int | None = None, **changes: Any) -> Trained:
        options: dict[str, Any] = {
            "batch_rows": 4, "max_length": 128, "learning_rate": 0.05, "adapter": {"rank": 4},
            "dtype": "fp32", "quantize": "none", "evaluate_on": "held", "evaluate_every": 1, "epochs": 4,
            "schedule": "constant", "checkpoint_every": 2,
        }  # fmt: skip
        step = SupervisedFineTuning.model_validate({"model": "base", **options, **changes})
        return step.fit(table, stopping(tmp_path / name, path, stop_at=stop_at, tables={"held": held}))

    return run


def measured(trained: Trained) -> list[float]:
    return [loss for loss in trained.history["held_out_loss"].to_pylist() if loss is not None]


def test_the_weights_of_the_lowest_held_out_loss_are_saved(fit: Fit, digest) -> None:
    # So small a rate that the loss falls and rises smoothly, on every processor.
    slow = {"learning_rate": 0.01, "epochs": 6}
    last = fit("last", **slow)
    best = fit("best", keep_best=True, **slow)
    losses = [*measured(last), last.metrics["held_out_loss"]]
    assert measured(best) == measured(last)
    place = losses.index(min(losses))
    assert 0 < place < len(losses) - 1, "the lowest loss must lie within the training for this test"
    assert best.metrics["held_out_loss"] == min(losses) < last.metrics["held_out_loss"]
    assert digest(best) != digest(last)
    assert digest(fit("short", max_steps=place, **slow)) == digest(best)


def test_the_last_weights_do_not_pass_for_the_best_if_those_are_gone(tmp_path: Path) -> None:
    best = BestWeights(tmp_path / "best.pt")
    with pytest.raises(StoreError, match="the weights at the lowest held-out loss, is gone"):
        best.restore([], [2.0, None, 1.0, 1.5])
    assert best.restore([], [2.0, 1.5, 1.0]) == 1.0
    nothing = float("nan")  # of which no loss is the lowest, so nothing was saved
    assert best.restore([], [nothing, nothing, 3.0]) == 3.0


def test_training_stops_when_the_held_out_loss_no_longer_falls_also_when_resumed(
    fit: Fit, digest, stopped: type[Exception]
) -> None:
    whole = measured(fit("whole"))
    early = fit("early", patience=2, keep_best=True)
    wanted = next(n for n in range(1, len(whole) + 1) if exhausted(whole[:n], 2))
    assert wanted < len(whole)
    # The last measurement is made, and its step is not.
    assert early.metrics["steps"] == wanted - 1
    assert early.metrics["held_out_loss"] == min(whole[:wanted])
    with pytest.raises(stopped):
        fit("again", patience=2, keep_best=True, stop_at=3)
    assert digest(fit("again", patience=2, keep_best=True)) == digest(early)


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [
        ([3.0, 2.0, 2.5], 1, True),
        ([3.0, 2.0, 2.5], 2, False),
        ([3.0, None, 2.0, 2.5, None, 2.0], 2, True),
        ([3.0, 2.0, 2.5, 1.9], 2, False),
        ([3.0, 2.0, 1.9, 2.5], 2, False),
        ([3.0, 3.0], None, False),
        ([3.0], 1, False),
    ],
)
def test_patience(losses: list[float | None], patience: int | None, stops: bool) -> None:
    assert exhausted(losses, patience) is stops


def test_max_steps_bounds_the_steps_and_their_tokens(fit: Fit) -> None:
    whole, short = fit("whole"), fit("short", max_steps=3)
    assert short.metrics["steps"] == 3 < whole.metrics["steps"]
    assert short.metrics["tokens"] < whole.metrics["tokens"]
    assert short.history["rows"].to_pylist() == whole.history["rows"].to_pylist()[:3]
    assert fit("more", max_steps=1000).metrics["steps"] == whole.metrics["steps"]


def test_noise_is_uniform_within_its_bound_for_each_sequence() -> None:
    torch.manual_seed(1)
    x = torch.zeros(40, 64)
    found = noisy(x, [4, 36], 5.0)
    for part, length in ((found[:4], 4), (found[4:], 36)):
        bound = 5.0 / (length * 64) ** 0.5
        assert part.abs().max() <= bound
        assert part.abs().mean() == pytest.approx(bound / 2, rel=0.1)
        assert part.mean() == pytest.approx(0.0, abs=bound / 10)


def test_only_training_is_noisy(make_model, fit: Fit, digest) -> None:
    model = load_model(make_model(), dtype=torch.float32)
    ids = torch.tensor([3, 4, 5, 6])
    plain = model.eval()(ids, [4])
    model.noise = 5.0
    assert torch.equal(model(ids, [4]), plain)
    assert not torch.equal(model.train()(ids, [4]), plain)
    noisy_one, noisy_two = fit("one", neftune=5.0, max_steps=2), fit("two", neftune=5.0, max_steps=2)
    assert digest(noisy_one) == digest(noisy_two) != digest(fit("none", max_steps=2))


def test_a_criterion_without_held_out_rows_is_refused() -> None:
    for name in ("keep_best", "patience"):
        with pytest.raises(ValidationError, match=f"{name} needs held-out rows"):
            SupervisedFineTuning.model_validate({"model": "base", name: True if name == "keep_best" else 2})
