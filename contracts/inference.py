"""The types that engines, generators and filters share: requests, completions, embeddings.

Part of the contracts: imports nothing heavy, so that a plan can be made without torch or vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from typing_extensions import TypedDict  # pydantic reads this one before Python 3.12

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .errors import EngineError

#: What an engine may or may not support. A step that needs more than its engine offers is
#: refused before the first request is sent. ``adapter``: students with a LoRA adapter; ``dora``, with
#: magnitudes; ``trained_parts``, with embeddings, norms or a head; ``delta``, which change the weights;
#: ``added_modules``, which compute beside the weights.
#: ``tools``: requests that name functions which the model may call.
Capability = Literal[
    "seed", "logprobs", "json_schema", "regex", "stop", "adapter", "prompt_tokens", "user_turn", "likelihood",
    "reward", "dora", "trained_parts", "delta", "added_modules", "tools",
]  # fmt: skip


#: Texts that are embedded and stored together. After a stop, at most these are embedded again.
EMBED_CHUNK = 1024


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class CalledFunction(TypedDict):
    """``arguments``: JSON text of an object, as the model wrote it."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """One call of a tool, in OpenAI's form. ``type`` is ``function``."""

    id: str
    type: str
    function: CalledFunction


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. The names are those of vLLM and OpenAI.

    ``logprobs``: None for none, else the number of most likely tokens to report at each position
    besides the sampled one (0: only the sampled one). ``top_texts``: also report the texts of those tokens.
    ``json_schema`` is JSON text.
    """

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    top_texts: bool = False
    json_schema: str | None = None
    regex: str | None = None

    def needs(self) -> frozenset[Capability]:
        """The capabilities that these settings require."""
        wanted: set[Capability] = {"seed"} if self.temperature > 0 else set()
        if self.stop:
            wanted.add("stop")
        if self.logprobs is not None:
            wanted.add("logprobs")
        if self.json_schema is not None:
            wanted.add("json_schema")
        if self.regex is not None:
            wanted.add("regex")
        return frozenset(wanted)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one completion. Exactly one of ``messages``, ``prompt`` and ``prompt_tokens`` is given.

    ``messages`` go through the model's chat template; ``prompt`` and ``prompt_tokens`` do not.
    ``opening``: the role of the turn to generate. ``"user"`` (capability ``user_turn``) opens a user's
    turn, after any messages or none.
    ``continuation`` (capability ``likelihood``): a text to score in place of an answer. Nothing is sampled:
    the completion holds this text, its tokens and their log-probabilities given the prompt. With ``closed``
    they include what ends the turn. An empty ``prompt`` then stands for no prompt at all.
    ``tools`` (capability ``tools``): JSON text of a list of the functions that the model may call, in
    OpenAI's form. They go with ``messages``.
    ``reward`` (capability ``reward``): have a reward model rate the whole conversation in ``messages``; the
    completion holds its ``reward`` and no text.
    ``seed`` derives from the row's ``_id``, so a completion does not depend on its neighbors.
    ``adapter``: a directory in PEFT's layout, served over the engine's model for this request. Only an engine
    that was started to serve several adapters takes it.
    """

    id: str
    seed: int
    sampling: Sampling
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    prompt_tokens: tuple[int, ...] | None = None
    opening: Literal["assistant", "user"] = "assistant"
    continuation: str | None = None
    closed: bool = False
    reward: bool = False
    adapter: Path | None = None
    tools: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """An engine's answer to one request.

    ``text`` is the answer alone. ``reasoning``: what a thinking model wrote before it; None if it wrote
    nothing. A model that thinks until its tokens are spent gives no answer: see :attr:`cut_thinking`.
    ``tool_calls``: the calls of tools that it answers with, beside a text or none.

    ``logprobs``: the log-probability (nats) of each sampled token, of the reasoning too. ``top_logprobs``:
    for each position the log-probabilities of the ``Sampling.logprobs`` most likely tokens, in descending
    order. ``top_texts``: their texts, if asked for.
    ``finish`` is ``stop`` (end of turn, calls or a stop string) or ``length``. ``slot``: when the request was
    in flight (start, end), in seconds after the call; None: for the whole call. ``cost``: its price in US
    dollars. ``wasted``: what was charged for attempts at the same request whose answers were thrown away.
    ``shared``: it is the answer to an equal request, and charged there.
    """

    request_id: str
    text: str
    tokens: tuple[int, ...]
    finish: str
    prompt_tokens: int
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[tuple[float, ...], ...] | None = None
    top_texts: tuple[tuple[str, ...], ...] | None = None
    reward: float | None = None
    cached_tokens: int = 0
    reasoning: str | None = None
    slot: tuple[float, float] | None = field(default=None, compare=False)
    cost: float = 0.0
    wasted: Usage | None = field(default=None, compare=False)
    tool_calls: tuple[ToolCall, ...] | None = None
    shared: bool = field(default=False, compare=False)

    @property
    def cut_thinking(self) -> bool:
        """Whether the model ended while it thought, before any answer."""
        return self.reasoning is not None and not self.text.strip() and not self.tool_calls


@dataclass(slots=True)
class Usage:
    """Tokens and requests used, and US dollars for priced models. Adds up over micro-batches, steps and
    sessions."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def add(self, other: Usage) -> None:
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cached_tokens += other.cached_tokens
        self.usd += other.usd

    def count(self, completion: Completion) -> None:
        if not completion.shared:
            self.requests += 1
            self.prompt_tokens += completion.prompt_tokens
            self.completion_tokens += len(completion.tokens)
            self.cached_tokens += completion.cached_tokens
            self.usd += completion.cost
        if completion.wasted is not None:
            self.add(completion.wasted)


class Engine(Protocol):
    """Serves one model (and at most one adapter over it).

    ``generate`` may be awaited concurrently: an engine batches all requests in flight.
    It returns, in the order of the requests, a completion or the error of this request alone. It raises
    :class:`EngineError` if the whole call failed, and another GristmillError if no call can succeed until a
    person mends something.
    ``vocab_size``: the size of the model's vocabulary; None: not known.
    """

    capabilities: frozenset[Capability]
    vocab_size: int | None

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]: ...

    async def close(self) -> None: ...


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed ``texts``: shape ``(len(texts), dimensions)``, float32, each row of norm 1.

        The row of a text that the model has no vector for is zero.
        """
        ...


class StoredEmbedder(Embedder, Protocol):
    """An :class:`Embedder` that stores each vector in the run as it is made, and embeds no text twice.

    ``embedded``: the number of texts that this step embedded. ``reused``: the number of distinct texts that
    it asked for and that already had a vector when it started.
    """

    @property
    def embedded(self) -> int: ...

    @property
    def reused(self) -> int: ...

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The distinct texts that have no vector yet, in the order in which they should be embedded."""
        ...


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """A model on the local disk, ready to load.

    ``path``: a directory in the Hugging Face layout (safetensors, tokenizer, chat template).
    ``adapter``: a directory in PEFT's layout, or None. ``digest`` identifies the content of both.
    """

    name: str
    path: Path
    digest: str
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to serve a model: the engine, its options (as in the pipeline file) and the weights.

    ``weights`` is None for an engine that reaches a server or needs no weights. ``beside``: further models of
    an engine that combines several, by their part in its formula.
    """

    kind: str
    weights: ModelWeights | None
    options: dict[str, object] = field(default_factory=dict)
    beside: Mapping[str, tuple[ModelWeights, ...]] = field(default_factory=dict)


def derive_seed(seed: int, *parts: object) -> int:
    """A 31-bit seed that depends only on ``seed`` and on the values that identify the draw."""
    text = "|".join(str(part) for part in (seed, *parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") & 0x7FFF_FFFF
