"""``sampling:`` of a model: how it is asked by steps that do not say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from ..frozen import Frozen
from ..operator import Operator
from .model import EmbedderModel, ModelSpec


@cache
def sampling_model() -> type[BaseModel]:
    """The pydantic model of the section: the fields by which a step says how it asks."""
    from ...datagen.sampling import Decoding

    class SamplingDefaults(Decoding, Frozen):
        """How a model is asked by steps that do not say otherwise."""

    return SamplingDefaults


def inherited(
    kind: type[Operator],
    params: Mapping[str, Any],
    steps: Mapping[str, Any],
    models: Mapping[str, ModelSpec | None],
) -> dict[str, Any]:
    """The parameters that a step takes from its model's ``sampling`` where it does not give them itself.

    ``steps``: as they are written, since a student is asked as the model is that it was trained from. An
    evaluation takes none: it measures, and is greedy until it says otherwise.
    """
    from ...datagen.sampling import Decoding

    if not issubclass(kind, Decoding):
        return {}
    model = _asked(params.get("model"), steps, models)
    return {} if model is None or isinstance(model, EmbedderModel) else model.sampling


def _asked(name: Any, steps: Mapping[str, Any], models: Mapping[str, ModelSpec | None]) -> ModelSpec | None:
    """The model of that name, or that the train step of that name starts from in the end."""
    seen: set[str] = set()
    while isinstance(name, str) and name not in models and name not in seen:
        seen.add(name)
        step = steps.get(name)
        name = step.get("model") if isinstance(step, dict) else None
    return models.get(name) if isinstance(name, str) else None
