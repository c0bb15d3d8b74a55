"""The models of a pipeline file: one frozen class per engine, and the models that another one consists of."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from ...contracts.frozen import Frozen
from ...contracts.operators import as_list

#: A name, or several.
Names: TypeAlias = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(as_list, json_schema_input_type=str | tuple[str, ...]),
]


class WeightsModel(Frozen):
    """The fields of all models that are loaded from disk."""

    path: str = Field(min_length=1)
    """Weights: a packaged model's name (`gristmill models list`), a Hugging Face id, a folder, or a GGUF
    file."""
    adapter: str | None = None
    """Folder of an adapter in PEFT's layout, served over the base without merging. By default there is
    none."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine, written next to the other keys of the model."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of every step that asks this model, unless the step sets its own: temperature,
    top_p, min_p, max_tokens, and so on."""


class VllmModel(WeightsModel):
    """Served by vLLM on this machine, on a CPU or on CUDA GPUs."""

    engine: Literal["vllm"] = "vllm"
    """Engine that serves the model."""


class TransformersModel(WeightsModel):
    """Served by transformers' generate: slower, and runs everywhere."""

    engine: Literal["transformers"]
    """Engine that serves the model."""


class OpenAIModel(Frozen):
    """Served by any server with an OpenAI-compatible API."""

    engine: Literal["openai"]
    """Engine that serves the model."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine, written next to the other keys of the model."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of every step that asks this model, unless the step sets its own: temperature,
    top_p, min_p, max_tokens, and so on."""


class CombinedModel(Frozen):
    """Several models that are decoded as one, by a formula over their logits at each token.

    It is `base + scale * (plus - minus)`: a large model, moved by what tuning changed in a small one. The
    models are loaded with transformers, and must have the same tokenizer. The chat template is that of the
    first model in `plus`.
    """

    engine: Literal["combined"]
    """Engine that serves the model."""
    base: str = Field(min_length=1)
    """Model, or train step, that is moved."""
    plus: Names
    """Tuned model, or train step, or a list of them."""
    minus: Names
    """Untuned model, or train step: one for all in `plus`, or a list with one for each."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine, written next to the other keys of the model."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of every step that asks this model, unless the step sets its own: temperature,
    top_p, min_p, max_tokens, and so on."""

    @model_validator(mode="after")
    def _pairs(self) -> CombinedModel:
        if len(self.minus) not in (1, len(self.plus)):
            raise ValueError(
                f"`minus` names {len(self.minus)} models and `plus` {len(self.plus)}: name one, or one for "
                "each"
            )
        scale = self.options.get("scale")
        if isinstance(scale, list | tuple) and len(scale) != len(self.plus):
            raise ValueError(
                f"`scale` has {len(scale)} numbers and `plus` {len(self.plus)} models: give one for each, or "
                "one for all"
            )
        return self

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The models of the formula by their part in it; those of `plus` and `minus` pair up."""
        minus = self.minus if len(self.minus) == len(self.plus) else self.minus * len(self.plus)
        return {"base": (self.base,), "plus": self.plus, "minus": minus}


class SyntheticModel(Frozen):
    """A deterministic engine without weights, for tests and dry runs."""

    engine: Literal["synthetic"]
    """Engine that serves the model."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine, written next to the other keys of the model."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of every step that asks this model, unless the step sets its own: temperature,
    top_p, min_p, max_tokens, and so on."""


class EmbedderModel(Frozen):
    """Turns texts into vectors: by a model on this machine, or by a server."""

    engine: Literal["embedder"]
    """Engine that serves the model."""
    path: str | None = Field(None, min_length=1)
    """Weights: a packaged model's name (`gristmill models list`), a Hugging Face id, or a folder of
    sentence-transformers or of model2vec. By default a server is asked: see `url`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine, written next to the other keys of the model."""

    @model_validator(mode="after")
    def _weights_or_server(self) -> EmbedderModel:
        if (self.path is None) == (self.options.get("url") is None):
            raise ValueError("give either `path` (weights), or `url` (a server) and `model` (its name there)")
        return self


ModelSpec: TypeAlias = (
    VllmModel | TransformersModel | OpenAIModel | CombinedModel | SyntheticModel | EmbedderModel
)

#: engine -> the model class that describes it.
MODEL_KINDS: dict[str, type[ModelSpec]] = {
    "vllm": VllmModel,
    "transformers": TransformersModel,
    "openai": OpenAIModel,
    "combined": CombinedModel,
    "synthetic": SyntheticModel,
    "embedder": EmbedderModel,
}


def members(model: ModelSpec | None) -> list[str]:
    """The models and train steps that a combined model consists of; none of any other."""
    if not isinstance(model, CombinedModel):
        return []
    return list(dict.fromkeys(name for names in model.members.values() for name in names))
