"""The greedy soup: a student is added only if the loss of the soup falls."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from gristmill.contracts import registry
from gristmill.contracts.chat_templates import read_chat_templates, write_chat_templates
from gristmill.contracts.errors import DataError, ModelError
from gristmill.trainer.data.named_templates import NAMED_TEMPLATES
from gristmill.trainer.merging.greedy_soup import GreedySoup, greedy
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning


def test_an_ingredient_is_added_only_if_the_loss_falls() -> None:
    losses = {(0,): 3.0, (1,): 1.0, (2,): 2.0, (3,): 2.5}
    losses |= {(1, 2): 1.0, (1, 3): 0.5, (1, 3, 0): 0.75}
    asked = []

    def loss_of(chosen: Any) -> float:
        asked.append(tuple(chosen))
        return losses[tuple(chosen)]

    assert greedy(4, loss_of) == [1, 3]  # 2 leaves the loss as it is, and 0 raises it
    assert asked == list(losses)


def _changed(base: Path, out: Path, change: float) -> None:
    from safetensors.torch import save_file

    shutil.copytree(base, out)
    tensors = load_file(base / "model.safetensors")
    generator = torch.Generator().manual_seed(3)
    for name in tensors:
        if "proj" in name:
            tensors[name] += change * torch.randn(tensors[name].shape, generator=generator)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def test_the_loss_is_the_trainers_and_the_soup_the_mean(
    bench: Any, stopping: Any, stopped: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    for name, change in (("left", 0.2), ("right", -0.2), ("far", 3.0)):
        _changed(bench.path, tmp_path / name, change)
    step = GreedySoup(model="base", students=("far", "left", "right"), dtype="fp32")
    table = pa.Table.from_pylist(rows)
    bench.stop_at = 2
    with pytest.raises(stopped):
        step.fit(table, bench)
    bench.stop_at = None
    made = step.fit(table, bench)
    tried, chosen = made.metrics["tried"], made.metrics["merged"]
    assert made.metrics["held_out_loss"] == min(tried.values()) <= min(tried[name] for name in step.students)
    # The loss of a student is what a training measures before its first step.
    plain = SupervisedFineTuning(
        model="left", quantize="none", dtype="fp32", evaluate_on="held", max_steps=1, max_length=128
    )
    measured = plain.fit(table, stopping(tmp_path / "t", tmp_path / "left", tables={"held": table}))
    assert tried["left"] == pytest.approx(measured.history["held_out_loss"][0].as_py(), rel=1e-6)
    told = greedy(3, lambda places: tried[" + ".join(step.students[place] for place in places)])
    assert chosen == [step.students[place] for place in told]
    assert len(tried) == 5
    wanted = tmp_path / "wanted"
    merge(bench.path, [tmp_path / name for name in chosen], wanted, method="soup")
    found = load_file(made.adapter / "model.safetensors")
    for name, tensor in load_file(wanted / "model.safetensors").items():
        assert torch.equal(found[name], tensor)
    assert not (bench.workdir / "tried").exists()
    measured_twice = [each for each in bench.reports if "held_out_loss" in each[2]]
    assert len(measured_twice) == 2 + 5 + 1  # what was measured before the stop is not measured again


def test_one_process_of_several_measures_by_itself(
    bench: Any, one_of_two: None, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """As the first one of ``torchrun``, after a training: the others do not answer."""
    _changed(bench.path, tmp_path / "left", 0.2)
    made = GreedySoup(model="base", students=("left",)).fit(pa.Table.from_pylist(rows), bench)
    assert made.metrics["merged"] == ["left"]


def test_rows_are_rendered_as_the_merged_model_is_asked(
    bench: Any, stopping: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """With the template of the students, where the base has none."""
    for name in ("left", "right"):
        _changed(bench.path, tmp_path / name, 0.2)
        write_chat_templates(tmp_path / name, (("default", NAMED_TEMPLATES["plain"]),))
    write_chat_templates(bench.path, ())
    step = GreedySoup(model="base", students=("left", "right"), dtype="fp32")
    table = pa.Table.from_pylist(rows)
    made = step.fit(table, bench)
    plain = SupervisedFineTuning(
        model="left", quantize="none", dtype="fp32", evaluate_on="held", max_steps=1, max_length=128
    )
    measured = plain.fit(table, stopping(tmp_path / "t", tmp_path / "left", tables={"held": table}))
    first = measured.history["held_out_loss"][0].as_py()
    assert made.metrics["tried"]["left"] == pytest.approx(first, rel=1e-6)
    assert read_chat_templates(made.adapter) == read_chat_templates(tmp_path / "left")
    write_chat_templates(tmp_path / "right", (("default", NAMED_TEMPLATES["chatml"]),))
    with pytest.raises(ModelError, match="no common one, so rows cannot be measured"):
        step.fit(table, bench)


def test_a_soup_of_some_students_has_the_template_that_all_were_measured_with(
    bench: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    for name, size, template in (("left", 0.01, "plain"), ("right", 5.0, "chatml")):
        _changed(bench.path, tmp_path / name, size)
        write_chat_templates(tmp_path / name, (("default", NAMED_TEMPLATES[template]),))
    step = GreedySoup(model="base", students=("left", "right"), dtype="fp32")
    made = step.fit(pa.Table.from_pylist(rows), bench)
    assert len(made.metrics["merged"]) == 1
    assert read_chat_templates(made.adapter) == read_chat_templates(bench.path) != ()


def test_rows_that_cannot_be_measured_are_refused(bench: Any, tmp_path: Path) -> None:
    _changed(bench.path, tmp_path / "left", 0.2)
    step = GreedySoup(model="base", students=("left",), dtype="fp32")
    with pytest.raises(DataError, match="cannot be trained on"):
        step.fit(pa.Table.from_pylist([{"_id": "a", "prompt": "x", "response": ""}]), bench)


def test_a_file_names_it() -> None:
    assert registry.find("merge", "greedy_soup") is GreedySoup
