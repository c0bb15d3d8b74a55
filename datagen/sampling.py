"""What the generators share: how to decode, and how to ask an engine so that one bad request costs one row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from ..pipelines.errors import EngineError
from ..pipelines.inference import Capability, Completion, Engine, Request, Sampling
from ..pipelines.operator import Estimate, Map, ModelRef

#: A prompt's length where nothing is known of it yet, for estimates (tokens).
_PROMPT_TOKENS = 128


class Generator(Map):
    """A map that asks a model. New rows: ``samples`` a row, each with a seed of its own.

    ``top_k`` 0: all tokens. ``logprobs``: None for none, else how many of the likeliest tokens to
    report at each position beside the sampled one. ``json_schema`` and ``regex`` constrain what is
    decoded, by engines that can.
    """

    makes: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 16
    seeded: ClassVar[bool] = True

    model: ModelRef
    samples: PositiveInt = 1
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

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        return {"model": self.sampling().needs()}

    def estimate(self, rows: int) -> Estimate:
        """Half of ``max_tokens`` a completion, and prompts of 128 tokens, until a run knows better."""
        requests = rows * self.samples
        return Estimate(
            rows=requests,
            requests=requests,
            prompt_tokens=requests * _PROMPT_TOKENS,
            completion_tokens=requests * self.max_tokens // 2,
        )


async def ask(engine: Engine, requests: Sequence[Request]) -> list[Completion | EngineError]:
    """A completion for each request, or the error that this request alone brings about.

    An answer that is not Unicode text, which nothing could store, is such an error too. An engine fails a call as a whole. Where trying again cannot help, the call is halved until
    the requests at fault are alone; errors that may pass are raised, for the run to try again.
    """
    if not requests:
        return []
    try:
        return [_text_only(completion) for completion in await engine.generate(requests)]
    except EngineError as error:
        if error.retryable:
            raise
        if len(requests) == 1:
            return [error]
    half = len(requests) // 2
    return [*await ask(engine, requests[:half]), *await ask(engine, requests[half:])]


def _text_only(completion: Completion) -> Completion | EngineError:
    try:
        completion.text.encode()
    except UnicodeEncodeError as error:
        told = f"character {error.start} of the answer is half a character (a lone surrogate)"
        return EngineError(told, retryable=False)
    return completion
