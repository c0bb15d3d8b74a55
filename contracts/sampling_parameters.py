"""Decoding parameters, which every step that asks a model has."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from .frozen import Frozen
from .inference import Sampling


class SamplingParameters(Frozen):
    """Decoding parameters of every step that asks a model."""

    temperature: float = Field(default=1.0, ge=0)
    """Randomness of sampling: the logits are divided by it. 0 always takes the likeliest token; 1, the
    default, samples from the model's own distribution. Lower values favor correct answers, higher values
    favor variety."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample only from the likeliest tokens that together have this share of the probability. The default, 1,
    takes all tokens."""
    top_k: NonNegativeInt = 0
    """Sample only from this many of the likeliest tokens. The default, 0, takes all tokens."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Leave out tokens whose probability is below this share of the likeliest token's. The default, 0, leaves
    out none. 0.05 to 0.1 keeps text coherent at a high temperature."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Penalty that divides the scores of tokens that have already occurred. The default, 1, has no effect;
    1.05 to 1.2 prevents repetition loops."""
    max_tokens: PositiveInt = 256
    """Maximum length of an answer, in tokens. Longer answers are truncated."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer as soon as they are generated: one, or a list. They are not part of the
    answer."""
    logprobs: NonNegativeInt | None = None
    """Record the log-probabilities of the sampled tokens, and of this many of the likeliest tokens at each
    position. 0 records only the sampled ones; by default none are recorded. `score: self_certainty` reads
    them; more of them tighten its bound."""
    json_schema: dict[str, Any] | str | None = None
    """JSON Schema that the answer must follow, as a mapping or as JSON text. Only engines with constrained
    decoding support it."""
    regex: str | None = None
    """Regular expression that the whole answer must match. Only engines with constrained decoding support
    it."""

    @field_validator("stop", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_stop(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("json_schema")
    @classmethod
    def _parses(cls, value: dict[str, Any] | str | None) -> dict[str, Any] | str | None:
        if isinstance(value, str) and not isinstance(json.loads(value), dict):
            raise ValueError("a JSON schema must be an object")
        return value

    def sampling(self) -> Sampling:
        """The sampling parameters of each request."""
        schema = self.json_schema
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            stop=self.stop,
            logprobs=self.logprobs,
            json_schema=json.dumps(schema, sort_keys=True) if isinstance(schema, dict) else schema,
            regex=self.regex,
        )
