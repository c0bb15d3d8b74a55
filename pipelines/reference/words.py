"""Types and defaults of parameters in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Schema = Mapping[str, Any]

#: Descriptions of the kinds of reference: see :class:`gristmill.contracts.operators.Reference`.
REFERENCES = {"model": "name of a model", "step": "name of a step", "embedder": "name of an embedder"}
#: JSON Schema's name of a type -> one value, several values.
_TYPES = {
    "integer": ("whole number", "whole numbers"),
    "number": ("number", "numbers"),
    "string": ("text", "texts"),
    "boolean": ("true or false", "truth values"),
    "array": ("list", "lists"),
    "object": ("mapping", "mappings"),
}


def type_in_words(schema: Schema, many: bool = False) -> str:
    """The values of a JSON Schema in words, for one value or ``many``: ``whole number, at least 1``."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _either([type_in_words(each, many) for each in schema[key] if each.get("type") != "null"])
    if "const" in schema:
        return _choice([schema["const"]])
    if "enum" in schema:
        return _choice(schema["enum"])
    kind = "object" if "$ref" in schema else str(schema.get("type"))
    word = _TYPES.get(kind, ("anything", "values of any kind"))[many]
    inner = _inner(schema)
    if inner:
        return f"{word} {'of' if kind == 'array' else 'of names to'} {type_in_words(inner, many=True)}"
    return word + _bounds(schema)


def default_in_words(field: FieldInfo) -> str | None:
    """The default as in a file: ``none`` for null, "" for a mapping of defaults. None: required."""
    if field.is_required():
        return None
    factory: Callable[[], Any] | None = field.default_factory  # type: ignore[assignment]
    value = field.default if factory is None else factory()
    if value is None or value == () or value == {}:
        return "none"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True) or _kind(value)
        return f"`{_yaml(value)}`" if value else ""
    return f"`{_yaml(value)}`"


def _kind(value: BaseModel) -> Mapping[str, Any]:
    """The key that distinguishes several mappings, if there is one."""
    return {"kind": value.kind} if hasattr(value, "kind") else {}


def _yaml(value: Any) -> str:
    import yaml

    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return text.strip().removesuffix("\n...")


def _inner(schema: Schema) -> Schema | None:
    """The type of a list's items or a mapping's values, if the schema gives it."""
    if "prefixItems" in schema:
        return {"anyOf": schema["prefixItems"]}
    inner = schema.get("items", schema.get("additionalProperties"))
    return inner if isinstance(inner, dict) and inner and "$ref" not in inner else None


def _bounds(schema: Schema) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    said = [
        f"{word} {value:g}"
        for word, value in (("at least", least), ("above", above), ("at most", most), ("below", below))
        if value is not None
    ]
    return f", {' and '.join(said)}" if said else ""


def _choice(values: list[Any]) -> str:
    return _either([f"`{_yaml(value)}`" for value in values])


def _either(words: list[str]) -> str:
    """``a, b or c``, each once."""
    found = list(dict.fromkeys(words))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"
