from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gristmill.pipelines import registry
from gristmill.pipelines.spec.schema import schema, training_schema

FILE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "data" / "pipeline.yaml").read_text())


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    made = schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def test_a_sound_file_is_valid(validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(FILE)] == []


def test_every_operator_and_a_block_is_one_way_to_write_a_step(validator: Draft202012Validator) -> None:
    ways = validator.schema["properties"]["steps"]["additionalProperties"]["oneOf"]
    named = [(verb, name) for verb in registry.verbs() for name in registry.names(verb)]
    constants = [(way["required"][0], way["properties"][way["required"][0]].get("const")) for way in ways]
    assert set(named) <= set(constants)
    assert len(ways) == len(named) + len(registry.VALUED) + len(registry.USER_FUNCTION) + 1
    assert all(way["description"] for way in ways)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nam",), 1),
        (("steps", "answers", "samples"), "many"),
        (("steps", "answers", "sampels"), 2),
        (("steps", "answers", "generate"), "respnd"),
        (("steps", "kept", "keep"), 3),
        (("steps", "Upper"), {"dedup": "exact", "from": "kept"}),
        (("models", "base", "engine"), "vlm"),
        (("models", "base", "max_model_len"), 3),
        (("loop", "rounds"), 0),
        (("budget", "tokens"), -1),
        (("on_failure",), "stpo"),
    ],
)
def test_a_mistake_is_found(validator: Draft202012Validator, path: tuple[str, ...], value: object) -> None:
    file = copy.deepcopy(FILE)
    inside = file
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    assert list(validator.iter_errors(file))


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"train": "distill", "teacher": "./large", "evaluate_on": ["a.jsonl", "b.jsonl"]}, True),
        ({"data": {"path": "r.parquet", "rename": {"a": "prompt"}}, "out": "here", "seed": 3}, True),
        ({"epochs": "${n}", "vars": {"n": 2}}, True),
        ({"epochs": "many"}, False),
        ({"epoch": 2}, False),
        ({"from": "rows"}, False),
        ({"train": "sfft"}, False),
        ({"adapter": {"rnk": 2}}, False),
        ({"data": None}, False),
    ],
)
def test_a_training_file_is_valid_by_a_schema_of_its_own(change: dict[str, Any], valid: bool) -> None:
    made = training_schema()
    Draft202012Validator.check_schema(made)
    file = {"train": "sft", "model": "some/model", "data": "rows.jsonl", **change}
    assert Draft202012Validator(made).is_valid(file) == valid
    del file["data"]
    assert not Draft202012Validator(made).is_valid(file)
