"""People who come from another trainer are told the setting's name here, and it exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gristmill.contracts.errors import SpecError
from gristmill.contracts.other_names import with_value
from gristmill.pipelines.file.load import loads
from gristmill.trainer.other_tools import OTHER_NAMES

HEAD = "train: {train}\nmodel: some/model\ndata: rows.jsonl\n"
PAGE = Path(__file__).parents[2] / "docs/coming-from.md"


def file_with(setting: str) -> str:
    kind = "distill" if setting.startswith("teacher") else "sft"
    model = "" if setting.startswith("model") else "model: some/model\n"
    teacher = "teacher: some/large\n" if kind == "distill" and not setting.startswith("teacher") else ""
    measured = "evaluate_on: held_out.jsonl\n" if setting.startswith(("keep_best", "patience")) else ""
    data = "data: [rows.jsonl, more.jsonl]\n" if setting.startswith("mix") else "data: rows.jsonl\n"
    mixed = "mix: [1, 2]\n" if setting.startswith("mix_until") else ""
    return f"train: {kind}\n{model}{teacher}{data}{measured}{mixed}{setting}\n"


@pytest.mark.parametrize(
    "setting", sorted(with_value(each) for each in set(OTHER_NAMES.values()) if "leave" not in each)
)
def test_what_is_suggested_is_a_valid_setting(setting: str) -> None:
    spec = loads(file_with(setting), "f.yaml")
    (name,) = yaml.safe_load(setting)
    assert name in {"model", "teacher"} or name in type(spec.steps["student"].operator).model_fields


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_name_of_another_trainer_gets_the_name_here(kind: str) -> None:
    with pytest.raises(SpecError) as refused:
        loads(HEAD.format(train=kind) + "num_train_epochs: 3\nlora_r: 8\ndatasets: [a]\nlr: 1e-5\n", "f.yaml")
    told = str(refused.value)
    assert (
        "f.yaml:4:1: num_train_epochs: unknown key: found 'num_train_epochs'; write `epochs: 3` here" in told
    )
    assert "f.yaml:5:1: lora_r: unknown key: found 'lora_r'; write `adapter: {rank: 8}` here" in told
    assert "f.yaml:7:1: lr: unknown key: found 'lr'; write `learning_rate: 1.0e-05` here" in told
    assert "f.yaml:6:1: datasets: unknown key: found 'datasets'; write `data: rows.jsonl` here" in told


def test_names_of_a_method_and_of_the_file_are_told_too() -> None:
    with pytest.raises(SpecError) as refused:
        loads(HEAD.format(train="text") + "dataset_text_field: body\nreport_to: wandb\n", "f.yaml")
    assert "found 'dataset_text_field'; write `text: body` here" in str(refused.value)
    assert "found 'report_to'; write `metrics: [wandb]` here" in str(refused.value)


def test_a_name_without_a_setting_is_to_be_left_out() -> None:
    with pytest.raises(SpecError) as refused:
        loads(HEAD.format(train="sft") + "packing: true\nlogging_steps: 1\n", "f.yaml")
    told = str(refused.value)
    assert "unknown key: found 'packing'; leave it out: rows are always packed" in told
    assert "unknown key: found 'logging_steps'; leave it out: every step is in the history" in told


def test_a_share_to_hold_out_keeps_its_size() -> None:
    with pytest.raises(SpecError, match=r"found 'val_set_size'; write `validation_split: 0.1` here"):
        loads(HEAD.format(train="sft") + "val_set_size: 0.1\n", "f.yaml")


def test_functions_of_reward_are_answered_with_a_column() -> None:
    with pytest.raises(SpecError) as refused:
        loads(HEAD.format(train="grpo") + "reward_funcs: [f]\nnum_generations: 8\n", "f.yaml")
    told = str(refused.value)
    assert "found 'reward_funcs'; leave it out: `reward` names a column" in told
    assert "found 'num_generations'; leave it out: `generate: respond` has `samples: 8`" in told


def test_in_a_pipeline_too() -> None:
    text = (
        "gristmill: 1\nname: n\nmodels: {base: {path: some/model}}\nsteps:\n"
        "  rows: {source: jsonl, path: rows.jsonl}\n"
        "  student: {train: sft, from: rows, model: base, lora_alpha: 8}\n"
    )
    with pytest.raises(SpecError, match=r"'lora_alpha'; write `adapter: \{alpha: 8\}` here"):
        loads(text, "f.yaml")


def test_no_name_of_another_trainer_is_a_setting_here() -> None:
    fields = set(type(loads(file_with("epochs: 1"), "f.yaml").steps["student"].operator).model_fields)
    assert not fields & set(OTHER_NAMES)


def test_the_page_names_each() -> None:
    page = PAGE.read_text()
    assert [name for name in OTHER_NAMES if f"`{name}`" not in page] == []
