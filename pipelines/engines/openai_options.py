"""The options of the engine for servers with an OpenAI-compatible API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ...contracts.frozen import Frozen
from ...contracts.inference import Capability
from .openai_thinking import thinking_fields
from .options import EngineOptions
from .server_address import Key, ServerAddress
from .thinking import Thinking, settings_of

#: Seconds to wait for a server by default: for one that has responded, and for one that never did.
PATIENCE, FIRST_PATIENCE = 300.0, 60.0
_EVERYWHERE: frozenset[Capability] = frozenset({"seed", "logprobs", "stop", "json_schema", "tools"})
_VLLM: frozenset[Capability] = frozenset({"regex", "prompt_tokens", "likelihood"})
#: What the engine writes into a request itself.
_OWN = frozenset({"model", "messages", "prompt", "stream", "n", "tools"})


class Price(Frozen):
    """Prices in US dollars per million tokens, for `budget: {usd: ...}`."""

    input: float = Field(ge=0)
    """Price of prompt tokens."""
    output: float = Field(ge=0)
    """Price of completion tokens."""
    cached: float | None = Field(default=None, ge=0)
    """Price of prompt tokens that the server had cached. By default that of `input`."""


class OtherAddress(Frozen):
    """Another address or key of the same model."""

    url: ServerAddress | None = None
    """Address of the server. By default that of the model."""
    key_env: Key | None = None
    """Environment variable that holds the key. By default that of the model, if the address is, else no key
    is sent."""

    @model_validator(mode="after")
    def _says_something(self) -> OtherAddress:
        if self.url is None and self.key_env is None:
            raise ValueError("give a `url`, a `key_env` or both")
        return self


class OpenAIOptions(EngineOptions):
    """Address of the server, limits on requests to it, and its dialect."""

    url: ServerAddress
    """Address of the server up to and including `/v1`, without user, password and query."""
    model: str
    """Name of the model on the server."""
    key_env: Key | None = None
    """Environment variable that holds the key. The key itself is never written anywhere. By default no key is
    sent."""
    also: tuple[OtherAddress, ...] = ()
    """Further addresses or keys of the same model, as `[{url: ...}, {key_env: ...}]`. Requests go to the one
    with the most room. Not with `mode: batch`."""
    flavor: Literal["openai", "vllm"] = "openai"
    """`vllm` for a vLLM server, which also takes regular expressions and prompt tokens, reports token ids and
    scores given text; `openai` for any other."""
    supports: tuple[Capability, ...] | None = None
    """Capabilities to rely on, if the server supports others than its flavor does: `[reward]` for a vLLM
    server of a reward model. By default those of its flavor."""
    unsupported: Literal["refuse", "drop"] = "refuse"
    """What to do if the server refuses a sampling parameter (`seed`, `temperature`, `top_p`, `top_k`,
    `min_p`, `repetition_penalty`), `reasoning_effort` or `chat_template_kwargs`: `refuse` stops the run,
    `drop` leaves it out of all requests and says so."""
    thinking: Thinking = "auto"
    """Whether the model is told to think: `true` or `false`, in the server's own field, or settings as
    `{enabled: true, markers: ["<think>", "</think>"]}`. By default, `auto`, the server decides. What the
    model thought is kept apart from its answer, whether the server gives it a field of its own or leaves it
    in the text between markers."""
    thinking_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a thought. Servers of vLLM, Anthropic, Gemini, DashScope and OpenRouter take it, each in
    a field of its own; give that of others with `extra_body`. By default the server decides."""
    reasoning_effort: str | None = None
    """How long a reasoning model thinks, in the server's words: `low`, `medium`, `high`. By default the
    server decides."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Values for the model's chat template, for servers that take them, such as `{enable_thinking: false}`.
    By default none are sent."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields to add to every request for an answer as they are, such as `{service_tier: flex}`; what is
    scored or rated takes those that render it. By default there are none."""
    price: Price | None = None
    """Prices per million tokens, such as `{input: 0.15, output: 0.6}`: `budget: {usd: ...}` requires them.
    By default nothing is priced."""
    tokenizer: str | None = None
    """Model whose tokenizer counts tokens if the server does not report them, in any form that `path`
    takes. By default that of `smollm2-135m-instruct`, if it is on this machine; else a token is taken as
    four bytes."""
    mode: Literal["live", "batch"] = "live"
    """`batch` sends the requests through OpenAI's batch API: at half the price, answered within a day. A run
    that is stopped meanwhile goes on with the batches that it sent."""
    batch: int = Field(default=5000, ge=1, le=50_000)
    """Most requests in a batch of `mode: batch`. As many rows are in flight."""
    poll: float = Field(default=30.0, gt=0)
    """Seconds between two looks at a batch."""
    concurrency: int = Field(default=64, ge=1)
    """Maximum number of requests in flight, at each address. The engine starts lower and adapts to the
    server."""
    attempts: int = Field(default=6, ge=1)
    """Maximum number of attempts per request if the server fails, drops the connection, answers with
    something else than a completion, or not at all."""
    patience: float | None = Field(default=None, ge=0)
    """Seconds to wait for a server that cannot be reached, or that stays busy, before rows fail. By default
    300, and 60 for one that cannot be reached from the beginning: its address is probably wrong. Give a
    number if the server is still loading its model."""
    timeout: float = Field(default=600.0, gt=0)
    """Timeout of one request, in seconds. When it is known how long answers usually take, a request without
    an answer is given up after a multiple of that."""

    def waits(self, *, reached: bool) -> float:
        """The seconds to wait for a server. ``reached``: has it ever responded?"""
        return self.patience if self.patience is not None else PATIENCE if reached else FIRST_PATIENCE

    @field_validator("supports")
    @classmethod
    def _can_be_said(
        cls, supports: tuple[Capability, ...] | None, info: ValidationInfo
    ) -> tuple[Capability, ...] | None:
        if supports is not None and "user_turn" in supports:
            raise ValueError(
                "the protocol does not support user_turn: serve the model with vllm or transformers"
            )
        scoring = sorted({"likelihood", "reward"} & set(supports or ()))
        if scoring and info.data.get("flavor") != "vllm":
            raise ValueError(
                f"only a vLLM server (`flavor: vllm`) supports {' and '.join(scoring)}: for others, load the "
                "weights with vllm or transformers"
            )
        return supports

    @field_validator("mode")
    @classmethod
    def _has_one_address(cls, mode: str, info: ValidationInfo) -> str:
        if mode == "batch" and info.data.get("also"):
            raise ValueError("batches go to one address with one key: leave out `also`")
        return mode

    @field_validator("extra_body")
    @classmethod
    def _is_not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OWN & set(extra)):
            raise ValueError(f"{taken[0]!r} is written by the engine itself: leave it out")
        return extra

    @model_validator(mode="after")
    def _can_be_told_to_think(self) -> OpenAIOptions:
        self._thinking_fields()
        return self

    def _thinking_fields(self) -> dict[str, Any]:
        enabled = settings_of(self.thinking).enabled
        return thinking_fields(self.url, self.flavor, enabled, self.thinking_tokens)

    @property
    def slots(self) -> int:
        return self.batch if self.mode == "batch" else self.concurrency * (1 + len(self.also))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the server supports, as these options say."""
        if self.supports is not None:
            return frozenset(self.supports)
        return _EVERYWHERE | _VLLM if self.flavor == "vllm" else _EVERYWHERE

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that every request gets."""
        thinking = self._thinking_fields()
        arguments = {**thinking.pop("chat_template_kwargs", {}), **self.chat_template_kwargs}
        own = {"reasoning_effort": self.reasoning_effort, "chat_template_kwargs": arguments}
        return {**thinking, **{name: value for name, value in own.items() if value}, **self.extra_body}

    @property
    def places(self) -> tuple[tuple[str, str | None], ...]:
        """Each address with the variable of its key."""
        more = [
            (each.url or self.url, each.key_env or (None if each.url else self.key_env)) for each in self.also
        ]
        return ((self.url, self.key_env), *more)
