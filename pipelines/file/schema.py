"""The JSON Schema of pipeline files for editors, with every installed operator."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ...contracts import registry
from ...contracts.operators import Operator, Source
from .blocks import EDGES, REPEAT, STEPS
from .docstrings import plain, read
from .model_kinds import MODEL_KINDS
from .models_section import options_model
from .sampling_defaults import sampling_model
from .spec import MAX_TURNS, NAME_PATTERN, VARS, BlockKeys, PipelineSpec, StepKeys
from .training_file import DATA, HEADER, ROWS

REFERENCE = "#/$defs/{model}"
Schema = dict[str, Any]


class _Quiet(GenerateJsonSchema):
    """Leaves out defaults that JSON cannot represent, without a warning."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012


def schema() -> Schema:
    """JSON Schema (2020-12) of a whole file. Any string may also be ``${variable}``."""
    definitions: dict[str, Any] = {}
    whole = PipelineSpec.model_json_schema(
        ref_template=REFERENCE, schema_generator=_WithoutSteps, mode="validation"
    )
    definitions.update(whole.pop("$defs", {}))
    properties: dict[str, Any] = whole["properties"]
    properties["vars"] = {"type": "object", "description": VARS}
    names = {"pattern": NAME_PATTERN}
    properties["models"] = {
        "type": "object",
        "propertyNames": names,
        "description": properties["models"]["description"],
        "additionalProperties": {"oneOf": [_model(engine, definitions) for engine in MODEL_KINDS]},
    }
    properties["steps"] = {
        "type": "object",
        "propertyNames": names,
        "minProperties": 1,
        "description": properties["steps"]["description"],
        "additionalProperties": {"oneOf": [*_steps(definitions), _block()]},
    }
    for unused in (
        "VllmModel",
        "TransformersModel",
        "OpenAIModel",
        "CombinedModel",
        "SyntheticModel",
        "EmbedderModel",
        "StepSpec",
    ):
        definitions.pop(unused, None)
    made: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gristmill pipeline file",
        "description": "Declares a pipeline from seeds to a promoted model. See docs/pipeline-file.md.",
        "type": "object",
        "additionalProperties": False,
        "required": ["gristmill", "name", "steps"],
        "properties": {key: _with_variables(value) for key, value in properties.items()},
        "$defs": {name: _with_variables(value) for name, value in definitions.items()},
    }
    _tell_in_one_line(made)
    return made


def training_schema() -> Schema:
    """JSON Schema (2020-12) of a training file: see :mod:`.training_file`."""
    whole = schema()
    definitions: dict[str, Any] = whole["$defs"]
    header = {key: whole["properties"][key] for key in HEADER}
    rows = {
        "description": f"{ROWS[0].upper()}{ROWS[1:]}, or a list of paths.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "object"}],
    }
    one = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    data = {
        "description": f"{ROWS[0].upper()}{ROWS[1:]}, or a list of paths; with `mix`, a list of sources.",
        "anyOf": [*one["anyOf"], {"type": "array", "items": one}],
    }
    model = {
        "description": "A catalogue name, a Hugging Face id, or a folder.",
        "anyOf": [{"type": "string"}, {"type": "object"}],
    }
    ways = []
    for name in registry.names("train"):
        kind = registry.find("train", name)
        if kind is None:
            continue
        way = _step("train", {"const": name}, kind, definitions)
        references = {key: model if kinds == "model" else rows for key, kinds in kind.reference_fields()}
        own = {
            key: value
            for key, value in way["properties"].items()
            if key not in ("from", "on_failure", "seed")
        }
        required = [key for key in way["required"] if key != "from"]
        ways.append(
            _closed({**header, **own, **references, DATA: data}, [*required, DATA], way["description"])
        )
    made: Schema = {
        "$schema": whole["$schema"],
        "title": "Gristmill training file",
        "description": "Declares a training on the rows of a data set. See docs/trainer.md.",
        "oneOf": ways,
        "$defs": definitions,
    }
    _tell_in_one_line(made)
    return made


class _WithoutSteps(_Quiet):
    """Operators are listed by :func:`_steps`; a single instance has no schema."""

    def is_instance_schema(self, schema: Any) -> Schema:
        return {}


def _model(engine: str, definitions: dict[str, Any]) -> Schema:
    kind = MODEL_KINDS[engine]
    own = _taken(kind.model_json_schema(ref_template=REFERENCE, schema_generator=_Quiet), definitions)
    options = _taken(
        options_model(engine).model_json_schema(ref_template=REFERENCE, schema_generator=_Quiet), definitions
    )
    properties = {**options.get("properties", {}), **own["properties"]}
    properties.pop("options")
    if "sampling" in properties:
        sampling = sampling_model().model_json_schema(ref_template=REFERENCE, schema_generator=_Quiet)
        properties["sampling"] = {**_taken(sampling, definitions), **_said(properties["sampling"])}
    properties["engine"] = {"const": engine, "description": (kind.__doc__ or "").strip()}
    required = [*own.get("required", []), *options.get("required", [])]
    if engine == "vllm":
        properties["engine"]["default"] = engine
    return _closed(properties, required, (kind.__doc__ or "").strip())


def _steps(definitions: dict[str, Any]) -> list[Schema]:
    steps = []
    for verb in registry.verbs():
        for name in registry.names(verb):
            kind = registry.find(verb, name)
            if kind is not None:
                steps.append(_step(verb, {"const": name}, kind, definitions))
        if verb in registry.VALUED:
            steps.append(_step(verb, {}, registry.load(registry.VALUED[verb]), definitions))
        if verb in registry.USER_FUNCTION:
            own = {"type": "string", "pattern": ":", "description": "Your own function, as module:function."}
            steps.append(_step(verb, own, registry.load(registry.USER_FUNCTION[verb]), definitions))
    return steps


def _block() -> Schema:
    """A repeated block of steps, in place of a step."""
    own = BlockKeys.model_json_schema()
    said = {name: held["description"] for name, held in own["properties"].items()}
    step = {"$ref": "#/properties/steps/additionalProperties"}
    changes = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    properties: Schema = {
        REPEAT: {"type": "integer", "minimum": 1, "maximum": MAX_TURNS, "description": said[REPEAT]},
        STEPS: {
            "type": "object",
            "propertyNames": {"pattern": NAME_PATTERN},
            "minProperties": 1,
            "description": said[STEPS],
            "additionalProperties": step,
        },
        **{edge: {**changes, "description": said[edge]} for edge in EDGES},
    }
    return _closed(properties, [REPEAT, STEPS], read(BlockKeys.__doc__).summary)


def _step(verb: str, value: Schema, kind: type[Operator], definitions: dict[str, Any]) -> Schema:
    """One way to write a step: the verb, its parameters, and the keys that every step may have."""
    own = _taken(
        kind.model_json_schema(ref_template=REFERENCE, schema_generator=_Quiet, mode="validation"),
        definitions,
    )
    properties: dict[str, Any] = own.get("properties", {})
    required = set(own.get("required", []))
    said = read(kind.__doc__).summary
    held = kind.value_field
    given = dict(value)
    if not value and held is not None:
        given = {"anyOf": [properties.pop(held), {"type": "object"}]}
        required.discard(held)
    elif not value:
        given = {"type": "object", "properties": dict(properties)}
        required = set()
    elif held is not None and held in properties and "const" not in value:
        properties.pop(held)
        required.discard(held)
    every = _step_keys()
    if issubclass(kind, Source) or kind.input_field != "from":
        every.pop("from")
    if not issubclass(kind, Source) and not kind.optional_input:
        required.add(kind.input_field)
    given = {"description": said, **given}
    return _closed({verb: given, **properties, **every}, [verb, *sorted(required - {verb})], said)


def _step_keys() -> dict[str, Any]:
    """The keys of every step. A key that is left out is None, but null may not be written."""
    keys: dict[str, Any] = {}
    for name, schema in StepKeys.model_json_schema()["properties"].items():
        kinds = [each for each in schema["anyOf"] if each != {"type": "null"}]
        allowed = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        keys[name] = {"description": schema["description"], **allowed}
    return keys


def _said(schema: Schema) -> Schema:
    return {key: schema[key] for key in ("description", "title") if key in schema}


def _taken(schema: Schema, definitions: dict[str, Any]) -> Schema:
    definitions.update(schema.pop("$defs", {}))
    return schema


def _closed(properties: dict[str, Any], required: list[str], said: str) -> Schema:
    return {
        "type": "object",
        "description": said,
        "properties": {key: _with_variables(value) for key, value in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def _tell_in_one_line(schema: Any) -> None:
    """Shorten each description to one line; that of a class to its summary."""
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            schema["description"] = plain(schema["description"].partition("\n\n")[0])
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            _tell_in_one_line(inner)


def _with_variables(schema: Any) -> Any:
    """Allow ``${name}`` in place of a number or a boolean."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("integer", "number", "boolean"):
        said = {key: schema[key] for key in ("description", "default", "title") if key in schema}
        plain = {key: value for key, value in schema.items() if key not in said}
        return {**said, "anyOf": [plain, {"type": "string", "pattern": r"^\$\{[^{}]+\}$"}]}
    inner: Schema = {
        key: [_with_variables(each) for each in value] if key in ("anyOf", "oneOf", "allOf") else value
        for key, value in schema.items()
    }
    if isinstance(inner.get("properties"), dict):
        inner["properties"] = {key: _with_variables(value) for key, value in inner["properties"].items()}
    if isinstance(inner.get("items"), dict):
        inner["items"] = _with_variables(inner["items"])
    return inner
