"""A training file is a pipeline of two steps, and its mistakes use the names of its own fields."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import load, load_training, loads

HEAD = "train: sft\nmodel: some/model\ndata: rows.jsonl\n"


def mistakes(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as refused:
        loads(text, "f.yaml", overrides)
    return str(refused.value).splitlines()


def test_it_stands_for_a_source_and_a_train_step() -> None:
    spec = loads(HEAD + "epochs: 3\nadapter: {rank: 8}\nseed: 5\nout: there\n", "My First.yaml")
    assert (spec.name, spec.seed, spec.directory) == ("my-first", 5, Path("there"))
    assert list(spec.steps) == ["data", "student"]
    data, student = spec.steps["data"], spec.steps["student"]
    assert (data.label, data.operator.path) == ("source: jsonl", "rows.jsonl")
    assert (student.label, student.inputs) == ("train: sft", ("data",))
    assert (student.operator.epochs, student.operator.adapter.rank, student.operator.model) == (3, 8, "base")
    assert spec.models["base"].path == "some/model"


def test_what_a_run_keeps_of_it_loads_as_the_pipeline_it_stands_for() -> None:
    spec = loads(HEAD + "vars: {n: 4}\nepochs: ${n}\n", "f.yaml")
    kept = spec.resolved()
    assert "steps" in yaml.safe_load(kept)
    for same in (loads(kept), loads("gristmill: 1\n" + HEAD + "name: f\nepochs: 4\n")):
        assert (same.name, same.models, same.steps) == (spec.name, spec.models, spec.steps)


def test_parameters_that_name_models_and_steps_take_paths() -> None:
    spec = loads(
        "train: distill\nmodel: some/small\nteacher: some/large\ndata: [a.parquet, b.parquet]\n"
        "evaluate_on: {path: held.jsonl, rows: 9, rename: {completion: response}}\n"
    )
    assert {name: model.path for name, model in spec.models.items()} == {
        "base": "some/small",
        "teacher": "some/large",
    }
    assert spec.steps["data"].operator.path == ("a.parquet", "b.parquet")
    assert (spec.steps["evaluate_on"].label, spec.steps["evaluate_on"].operator.rows) == ("source: jsonl", 9)
    assert spec.steps["student"].operator.evaluate_on == "evaluate_on"


def test_with_mix_each_item_of_data_is_a_source() -> None:
    head = "train: text\nmodel: some/model\nmix: [3, 1]\n"
    spec = loads(head + "data: [wiki/*.jsonl, {source: parquet, path: code.parquet, rows: 9}]\n")
    assert list(spec.steps) == ["data_1", "data_2", "student"]
    assert (spec.steps["data_1"].operator.path, spec.steps["data_2"].operator.rows) == ("wiki/*.jsonl", 9)
    assert spec.steps["student"].inputs == ("data_1", "data_2")
    assert spec.steps["student"].operator.mix == (3, 1)
    assert loads(spec.resolved()).steps == spec.steps
    (said,) = mistakes(head + "data: wiki.jsonl\n")
    assert "f.yaml:4:7: data: found 'wiki.jsonl'; with mix, give a list of two or more sources" in said
    (said,) = mistakes(head + "data:\n- wiki.jsonl\n- {source: jsonl, path: code.jsonl, rws: 3}\n")
    assert "f.yaml:6:37: data[1].rws: unknown key: found 'rws'; did you mean 'rows'?" in said
    (said,) = mistakes(head + "data: [wiki.jsonl, code.xlsx]\n")
    assert "f.yaml:4:20: data[1]: found 'code.xlsx'; give a path" in said


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.jsonl.gz", "jsonl"),
        ("s3://bucket/a/*.parquet", "parquet"),
        ("made.arrow", "dataset"),
        ("rows.csv", "csv"),
        ("owner/name", "dataset"),
        ("saved", "dataset"),
        ("lines", "jsonl"),
        ("tables", "parquet"),
    ],
)
def test_the_source_is_told_from_the_path(
    path: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, file in (("saved", "state.json"), ("lines", "x/a.jsonl"), ("tables", "a.parquet")):
        (tmp_path / folder / file).parent.mkdir(parents=True)
        (tmp_path / folder / file).touch()
    spec = loads(f"train: sft\nmodel: some/model\ndata: {path}\n")
    assert spec.steps["data"].label == f"source: {source}"


def test_every_mistake_at_its_place_in_the_words_of_the_file() -> None:
    found = mistakes(
        "train: sft\nmodel: some/model\ndata: rows.xlsx\nepoch: 3\nadapter: {rnk: 8, kind: "
        "lara}\nepochs: many\n"
    )
    assert [line.partition(": ")[0] for line in found] == [
        "f.yaml:3:7",
        "f.yaml:4:1",
        "f.yaml:5:11",
        "f.yaml:5:25",
        "f.yaml:6:9",
    ]
    assert "data: found 'rows.xlsx'; give a path" in found[0]
    assert "epoch: unknown key: found 'epoch'; did you mean 'epochs'?" in found[1]
    assert "adapter.rnk: unknown key: found 'rnk'; did you mean 'rank'?" in found[2]
    assert "adapter.kind: found 'lara'; did you mean 'lora'?" in found[3]
    assert "epochs: expected a whole number; found 'many'" in found[4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: sft\nmodel: m\n", "f.yaml:1:1: data: required, but missing: add `data:`"),
        ("train: sft\ndata: r.jsonl\n", "f.yaml:1:1: model: required, but missing: add `model:`"),
        (
            "train: sfft\nmodel: m\ndata: r.jsonl\n",
            "f.yaml:1:8: train: unknown operator of 'train': found 'sfft'",
        ),
        (HEAD + "data: s.jsonl\n", "f.yaml:4:1: data: is given twice"),
        (HEAD + "from: data\n", "f.yaml:4:1: from: unknown key"),
        (
            "train: sft\nmodel: m\ndata: {source: jsonl, path: r.jsonl, rws: 3}\n",
            "data.rws: unknown key: found 'rws'; did you mean 'rows'?",
        ),
        (
            "train: sft\nmodel: {engine: embedder, path: m}\ndata: r.jsonl\n",
            "f.yaml:2:8: model: 'base' is an embedder",
        ),
        (HEAD + "out: 3\n", "f.yaml:4:6: out: expected text"),
    ],
)
def test_single_mistakes(text: str, said: str) -> None:
    found = mistakes(text)
    assert len(found) == 1
    assert said in found[0]


def test_overrides_reach_keys_that_the_file_leaves_out() -> None:
    assert loads(HEAD, overrides=["adapter.rank=4"]).steps["student"].operator.adapter.rank == 4
    assert mistakes(HEAD, "epohs=2") == [
        "--set epohs=2:1:7: epohs: unknown key: found 'epohs'; did you mean 'epochs'?"
    ]


def test_a_file_of_steps_is_not_taken_for_one(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("gristmill: 1\nname: p\nsteps: {rows: {source: constraints, rows: 3}}\n")
    assert list(load(file).steps) == ["rows"]
    with pytest.raises(SpecError, match=r"p\.yaml:1:1: train: required.*`gristmill run "):
        load_training(file)
    file.write_text("model: some/model\n")
    with pytest.raises(SpecError, match="train: required, but missing: add `train: sft`"):
        load_training(file)
