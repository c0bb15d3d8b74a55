"""Supervised fine-tuning as a step: the loss falls, packing has no effect, runs resume bitwise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from gristmill.contracts.errors import DataError, ModelError, StoreError
from gristmill.contracts.training import Trained
from gristmill.trainer.methods.sft import SupervisedFineTuning


@pytest.fixture
def train(stopping) -> Callable[..., Trained]:
    """Train on rows: (model, rows, workdir, start=an earlier adapter, **parameters of the step)."""

    def fit(
        path: Path, rows: list[dict[str, Any]], workdir: Path, *, start: Path | None = None, **settings: Any
    ) -> Trained:
        return _step(**settings).fit(pa.Table.from_pylist(rows), stopping(workdir, path, start))

    return fit


def _step(**settings: Any) -> SupervisedFineTuning:
    defaults: dict[str, Any] = {
        "batch_tokens": 300,
        "max_length": 128,
        "pack_tokens": 128,
        "learning_rate": 1e-2,
        "adapter": {"rank": 4, "alpha": 8},
        "dtype": "fp32",
    }
    return SupervisedFineTuning.model_validate({"model": "base", **defaults, **settings})


def _digest(adapter: Path) -> str:
    return hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_the_loss_falls_and_the_figures_add_up(make_model, rows, tmp_path: Path, train) -> None:
    trained = train(make_model(), rows, tmp_path / "w", epochs=8)
    history, metrics = trained.history.to_pydict(), trained.metrics
    assert metrics["loss_last"] < 0.7 * metrics["loss_first"]
    assert (
        metrics["trained_tokens"]
        == sum(history["tokens"])
        == 8 * sum(len(row["response"]) + 1 for row in rows)
    )
    assert sorted(row for step in history["rows"] for row in step) == sorted([row["_id"] for row in rows] * 8)
    lengths = {row["_id"]: len(row["response"]) + 1 for row in rows}
    for step in range(metrics["steps"]):
        parts = zip(history["rows"][step], history["row_loss"][step])
        total = sum(lengths[row] * loss for row, loss in parts)
        assert total / history["tokens"][step] == pytest.approx(history["loss"][step], rel=1e-5)


@pytest.mark.parametrize(
    "changes", [{"dtype": "bf16"}, {"quantize": "none", "adapter": {"rank": 4, "dropout": 0.3}}]
)
def test_a_run_stopped_anywhere_gives_the_same_bits(
    make_model, rows, tmp_path: Path, changes: dict[str, Any], stopping, stopped
) -> None:
    path, table = make_model(), pa.Table.from_pylist(rows)
    step = _step(epochs=2, checkpoint_every=3, **changes)
    whole = step.fit(table, stopping(tmp_path / "whole", path))
    steps = whole.metrics["steps"]
    assert steps >= 6
    for stop in (0, 1, 2, 3, steps - 1):
        with pytest.raises(stopped):
            step.fit(table, stopping(tmp_path / f"{stop}", path, stop_at=stop))
        torch.rand(3)  # change the state of the random generator that the stopped run left
        resumed = stopping(tmp_path / f"{stop}", path)
        parts = step.fit(table, resumed)
        assert len(resumed.reports) == 1 + steps - stop
        assert _digest(parts.adapter) == _digest(whole.adapter)
        assert parts.history.drop(["seconds"]).equals(whole.history.drop(["seconds"]))


def test_training_leaves_the_callers_random_state_alone(make_model, rows, tmp_path: Path, train) -> None:
    path = make_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(path, rows, tmp_path / "w")
    assert torch.equal(torch.rand(3), expected)


def test_packing_changes_nothing_but_speed(make_model, rows, tmp_path: Path, train) -> None:
    path = make_model()
    packed = train(path, rows, tmp_path / "packed", batch_rows=6, pack_tokens=600).history.to_pydict()
    apart = train(
        path, rows, tmp_path / "apart", batch_rows=6, pack_tokens=1, max_length=60
    ).history.to_pydict()
    assert packed["loss"] == pytest.approx(apart["loss"], rel=1e-4)
    assert packed["gradient_norm"] == pytest.approx(apart["gradient_norm"], rel=1e-3)
    for step, ids in enumerate(packed["rows"]):
        alone = dict(zip(apart["rows"][step], apart["row_loss"][step]))
        assert packed["row_loss"][step] == pytest.approx([alone[row] for row in ids], rel=1e-4)


def test_keeping_the_dequantized_base_changes_no_bit(make_model, rows, tmp_path: Path, train) -> None:
    path = make_model()
    kept = train(path, rows, tmp_path / "kept", cache_dequantized=True)
    anew = train(path, rows, tmp_path / "anew", cache_dequantized=False)
    assert (kept.metrics["dequantized_kept"], anew.metrics["dequantized_kept"]) == (True, False)
    assert _digest(kept.adapter) == _digest(anew.adapter)


def test_a_second_training_goes_on_from_the_first_ones_adapter(
    make_model, rows, tmp_path: Path, train, stopping
) -> None:
    path = make_model()
    first = train(path, rows, tmp_path / "first", epochs=6)
    second = train(path, rows, tmp_path / "second", start=first.adapter)
    assert second.metrics["loss_first"] < 0.8 * first.metrics["loss_first"]
    wider = _step(adapter={"rank": 8, "alpha": 8})
    with pytest.raises(ModelError, match="r = 4, but this step asks for 8"):
        wider.fit(pa.Table.from_pylist(rows), stopping(tmp_path / "third", path, first.adapter))


def test_a_checkpoint_of_other_rows_is_refused(make_model, rows, tmp_path: Path, train) -> None:
    path = make_model()
    train(path, rows, tmp_path / "w")
    with pytest.raises(StoreError, match="other rows or settings"):
        train(path, rows[1:], tmp_path / "w")


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "folder", "link"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(
    make_model, rows, tmp_path: Path, train, damage: str
) -> None:
    path, work = make_model(), tmp_path / "w"
    train(path, rows, work)
    whole = load_file(work / "adapter" / "adapter_model.safetensors")
    checkpoint = work / "checkpoint.pt"
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 0x41  # in a tensor, where torch.load does not notice it
    checkpoint.unlink()
    if damage == "folder":
        checkpoint.mkdir()
    elif damage == "link":
        checkpoint.symlink_to("/dev/zero")
    else:
        checkpoint.write_bytes({"flipped": data, "cut": data[:200], "emptied": b""}[damage])
    with pytest.warns(UserWarning, match=r"is damaged: .* renamed to .*starts again"):
        train(path, rows, work)
    again = load_file(work / "adapter" / "adapter_model.safetensors")
    assert {name: tensor.tolist() for name, tensor in again.items()} == {
        name: tensor.tolist() for name, tensor in whole.items()
    }
    assert (work / "checkpoint.pt.damaged").exists() or (work / "checkpoint.pt.damaged").is_symlink()


def test_a_loss_that_is_not_finite_stops_with_the_rows(make_model, rows, tmp_path: Path, train) -> None:
    from safetensors.torch import save_file

    path = make_model(tie_word_embeddings=False)
    tensors = load_file(path / "model.safetensors")
    tensors["model.embed_tokens.weight"][ord("c") - ord("!") + 2] = float(
        "inf"
    )  # the letter c, of every prompt
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"stopped at step 0: loss nan.* rows row-"):
        train(path, rows, tmp_path / "w")
    assert not (tmp_path / "w" / "adapter").exists()


def test_a_length_over_the_models_positions_is_refused(make_model, rows, tmp_path: Path, train) -> None:
    with pytest.raises(ModelError, match="max_length = 257 is over the 256 positions of the model 'base'"):
        train(make_model(), rows, tmp_path / "w", max_length=257)
