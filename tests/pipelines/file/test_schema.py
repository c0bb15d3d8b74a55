from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gristmill.contracts import registry
from gristmill.pipelines.file.schema import schema, training_schema

FILE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "data" / "pipeline.yaml").read_text())


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    made = schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def test_a_sound_file_is_valid(validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(FILE)] == []


def _undescribed(schema: Any, path: str = "") -> Iterator[str]:
    """The paths of all properties without a description, at any depth."""
    if isinstance(schema, dict):
        for name, held in schema.get("properties", {}).items():
            if not (isinstance(held.get("description"), str) and held["description"].strip()):
                yield f"{path}/{name}"
        for key, inner in schema.items():
            yield from _undescribed(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from _undescribed(inner, f"{path}/{number}")


@pytest.mark.parametrize("make", [schema, training_schema])
def test_every_property_has_a_description(make: Callable[[], Any]) -> None:
    made = make()
    assert list(_undescribed(made)) == []
    told = [text for text in _descriptions(made) if "\n" in text or "``" in text or text != text.strip()]
    assert told == []
    assert sum(1 for _ in _descriptions(made)) > 200


def _descriptions(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema["description"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from _descriptions(inner)


def test_a_property_without_a_description_is_seen() -> None:
    held = {"anyOf": [{"properties": {"a": {"description": "x"}, "b": {"properties": {"c": {}}}}}]}
    assert list(_undescribed(held)) == ["/anyOf/0/b", "/anyOf/0/properties/b/c"]


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
        (("steps", "answers", "on_failure"), None),
        (("steps", "answers", "from"), []),
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
