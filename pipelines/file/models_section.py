"""Reads the ``models`` section: each model's own keys, and its engine's options."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from ...contracts.nearest import brief, suggestion
from .document import Document, Path
from .mistakes import blame_all
from .model_kinds import MODEL_KINDS, ModelSpec
from .sampling_defaults import sampling_model
from .steps import check_name

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "max_new_tokens", "stop")
#: What other libraries call the keys of a model.
_OTHER_NAMES = {
    **dict.fromkeys(_SAMPLING, "leave it out: `sampling: {...}` of the model, or the step, holds it"),
    **dict.fromkeys(
        ("api_key", "key", "token"), "leave it out: `key_env` names the variable that holds the key"
    ),
    **dict.fromkeys(("base_url", "api_base", "endpoint"), "leave it out: `engine: openai` has `url` for it"),
    **dict.fromkeys(
        ("model", "model_name", "model_id", "name"),
        "leave it out: `path` names weights, `engine: openai` with `url` and `model` a server",
    ),
}


def options_model(engine: str) -> type[BaseModel]:
    """The pydantic model of an engine's own options."""
    from .. import engines

    if engine in engines.KINDS:
        return engines.options_of(engine)
    from ..engines.embedder import OPTIONS

    return OPTIONS


def read_models(document: Document, raw: Any) -> dict[str, ModelSpec]:
    """The models that could be read; mistakes are recorded in the document."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        document.blame(("models",), f"expected a mapping of names to models; found {brief(raw)}")
        return {}
    models: dict[str, ModelSpec] = {}
    for name, given in raw.items():
        check_name(document, ("models", name))
        model = _read(document, ("models", name), given)
        if model is not None:
            models[name] = model
    return models


def _read(document: Document, path: Path, given: Any) -> ModelSpec | None:
    if not isinstance(given, dict):
        document.blame(
            path, f"a model is a mapping such as {{path: smollm2-135m-instruct}}; found {brief(given)}"
        )
        return None
    engine = given.get("engine", "vllm")
    kind = MODEL_KINDS.get(engine) if isinstance(engine, str) else None
    if kind is None:
        document.blame((*path, "engine"), f"unknown engine: {suggestion(engine, MODEL_KINDS)}")
        return None
    own = {key: value for key, value in given.items() if key in kind.model_fields and key != "options"}
    more = {key: value for key, value in given.items() if key not in own}
    options = options_model(engine)
    names = {*kind.model_fields, *options.model_fields} - {"options"}
    sound = "sampling" not in own or _sampling(document, (*path, "sampling"), own)
    own["options"] = more
    try:
        checked = options.model_validate(more)
        own["options"] = checked.model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        sound = False
        blame_all(document, path, error, options, more=names, other_names=_OTHER_NAMES)
    try:
        model = kind.model_validate(own)
    except ValidationError as error:
        blame_all(document, path, error, kind, more=names)
        return None
    return model if sound else None


def _sampling(document: Document, path: Path, own: dict[str, Any]) -> bool:
    """Check a model's ``sampling``. False if a value is wrong."""
    kind = sampling_model()
    given = own["sampling"]
    try:
        own["sampling"] = kind.model_validate({} if given is None else given).model_dump(
            mode="json", exclude_unset=True
        )
    except ValidationError as error:
        own["sampling"] = {}
        blame_all(document, path, error, kind)
        return False
    return True
