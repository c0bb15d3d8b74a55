"""How a model's answers are decoded: the parameters that every step which asks one has."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, field_validator

from ..pipelines.inference import Sampling


class Decoding(BaseModel):
    """``top_k`` 0: all tokens. ``logprobs``: None for none, else how many of the likeliest tokens to
    report at each position beside the sampled one. ``json_schema`` and ``regex`` constrain what is
    decoded, by engines that can.
    """

    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: NonNegativeInt = 0
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    max_tokens: PositiveInt = 256
    stop: tuple[str, ...] = ()
    logprobs: NonNegativeInt | None = None
    json_schema: dict[str, Any] | str | None = None
    regex: str | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("json_schema")
    @classmethod
    def _parses(cls, value: dict[str, Any] | str | None) -> dict[str, Any] | str | None:
        if isinstance(value, str) and not isinstance(json.loads(value), dict):
            raise ValueError("a JSON schema is an object")
        return value

    def sampling(self) -> Sampling:
        """How each request is decoded."""
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
