"""The options of an engine as a pipeline file gives them: one frozen pydantic model per engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from ...contracts.errors import ModelError
from ...contracts.frozen import Frozen
from ...contracts.nearest import did_you_mean
from ...contracts.validation import told
from .thinking import ModelTemplate, Thinking, settings_of


class EngineOptions(Frozen):
    """Options that every engine has. Unknown names are refused."""

    max_num_seqs: int = Field(default=128, ge=1)
    """Number of requests decoded together; the run queues half as many again. Lower it if memory is short.
    `transformers` uses `batch_size` and `openai` uses `concurrency` instead."""
    replicas: int = Field(default=1, ge=1)
    """Number of engines that serve the model on a Ray cluster. Elsewhere there is one."""

    @property
    def slots(self) -> int:
        """Number of requests that one engine processes at once."""
        return self.max_num_seqs


class ChatOptions(EngineOptions):
    """Options of the engines that render a model's chat template themselves."""

    thinking: Thinking = "auto"
    """Whether the model is told to think: `true` or `false`, for which its chat template needs a variable, or
    settings as `{enabled: true, markers: ["<think>", "</think>"]}`. By default, `auto`, the template decides,
    and the markers are found in it or in the tokenizer. What the model wrote between them is kept apart from
    its answer."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Values of the chat template's variables, such as `{enable_thinking: false}`. By default none are
    given."""

    def template(self) -> ModelTemplate:
        return ModelTemplate(settings_of(self.thinking), self.chat_template_kwargs)


Options = TypeVar("Options", bound=Frozen)


def parse(kind: str, model: type[Options], given: Mapping[str, object]) -> Options:
    """Parse the options of an engine. Raises ModelError that names every mistake and its fix."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        known = sorted(model.model_fields)
        mistakes = []
        for detail in error.errors():
            place = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                mistakes.append(f"unknown option {place!r}{did_you_mean(place, known)}")
            else:
                mistakes.append(f"{place or 'options'}: {told(detail)}")
        raise ModelError(
            f"engine {kind!r}: {'; '.join(mistakes)}. Its options are: {', '.join(known)}."
        ) from None
