"""``sampling:`` of a model: default sampling parameters for the steps that use it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from ...contracts.frozen import Frozen
from ...contracts.operators import Operator
from .model_kinds import EmbedderModel, ModelSpec
from .spec import first_of


@cache
def sampling_model() -> type[BaseModel]:
    """The pydantic model of the section: the sampling parameters of a step."""
    from ...contracts.sampling_parameters import SamplingParameters

    class SamplingDefaults(SamplingParameters, Frozen):
        """Default sampling parameters for the steps that use a model."""

    return SamplingDefaults


def inherited(
    kind: type[Operator],
    params: Mapping[str, Any],
    steps: Mapping[str, Any],
    models: Mapping[str, ModelSpec | None],
) -> dict[str, Any]:
    """The parameters that a step takes from its model's ``sampling`` because it does not set them itself.

    ``steps``: as written, since a student inherits the sampling of the model it was trained from. An
    evaluation takes none: it is greedy by default.
    """
    from ...contracts.sampling_parameters import SamplingParameters

    if not issubclass(kind, SamplingParameters):
        return {}
    model = _asked(params.get("model"), steps, models)
    return {} if model is None or isinstance(model, EmbedderModel) else model.sampling


def _asked(name: Any, steps: Mapping[str, Any], models: Mapping[str, ModelSpec | None]) -> ModelSpec | None:
    """The model of that name, or the model that the train step of that name starts from."""
    seen: set[str] = set()
    while isinstance(name, str) and first_of(name, models) not in models and name not in seen:
        seen.add(name)
        step = steps.get(name)
        name = step.get("model") if isinstance(step, dict) else None
    return models.get(first_of(name, models)) if isinstance(name, str) else None
