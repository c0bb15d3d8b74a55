"""Engine on transformers in this process, for machines without vLLM. Slower; no constrained decoding."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pydantic import Field

from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Capability, Completion, EngineSettings, ModelWeights, Request
from ...contracts.number_formats import default_format
from ...contracts.unmerged import unmerged_settings
from .added_modules import attach
from .answers import AnswerReader
from .batch import RequestBatch
from .combining import JointModel
from .decoding import Row, decode
from .drafting import decode_drafted
from .json_calls import json_calls
from .likelihood import GivenRow, score
from .options import ChatOptions
from .peft_adapters import merge
from .prompts import Prompts, context_length, vocabulary
from .quiet import quiet_loading
from .requests import check
from .reward import load_reward_model, rate
from .thought_budget import Thought, ThoughtLimit
from .tool_calls import hermes

if TYPE_CHECKING:
    import torch

NEEDS_WEIGHTS = True
APART = False

#: A request: its batch, and its index in it.
_Place: TypeAlias = tuple[RequestBatch, int]


class DecodingOptions(ChatOptions):
    """Options of the engines that decode with transformers."""

    batch_size: int = Field(default=16, ge=1)
    """Requests decoded together."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Maximum length of prompt and answer together, in tokens. By default 2048, or the model's own limit if
    that is less."""
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Number format of the weights. By default bfloat16, or float32 on a CPU that has no instructions for
    bfloat16 (AVX-512), where it is several times as fast."""
    device: str | None = None
    """PyTorch device such as `cuda:1`. By default a GPU where there is one, else the CPU."""
    thinking_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a thought; then its end is written for the model, which answers. By default it thinks as
    long as `max_tokens` allows."""
    tool_parser: Literal["hermes", "json"] | None = None
    """How the model writes calls of tools: `hermes` for Qwen2.5, Qwen3 and Hermes, `json` for models that
    write them as JSON in a fenced block, such as Qwen2.5-Coder; vLLM knows more. Steps with `tools` require
    it. By default a call is a text like any other."""

    @property
    def slots(self) -> int:
        return self.batch_size

    def offered(self) -> frozenset[Capability]:
        """What an engine with these options offers that generates."""
        found: set[Capability] = {"adapter", "dora", "trained_parts", "added_modules"}
        found |= {"seed", "logprobs", "stop", "prompt_tokens", "user_turn", "likelihood"}
        if self.tool_parser is not None:
            found.add("tools")
        return frozenset(found)


class TransformersOptions(DecodingOptions):
    """Options of the transformers engine."""

    task: Literal["generate", "reward"] = "generate"
    """`reward` for a reward model: one with a head that gives a conversation a single number, in its weights
    or in its adapter, as `train: reward` writes it. It generates nothing, and only `score: reward` can name
    it."""


OPTIONS = TransformersOptions
_READERS = {"hermes": hermes, "json": json_calls}


def capabilities(options: TransformersOptions) -> frozenset[Capability]:
    if options.task == "reward":
        return frozenset({"adapter", "dora", "trained_parts", "reward"})
    return options.offered()


def start(settings: EngineSettings, options: TransformersOptions) -> TransformersEngine:
    """Load the model. Raises ModelError if the model or its adapter cannot be loaded."""
    weights = cast(ModelWeights, settings.weights)
    load = _load_reward if options.task == "reward" else load_model
    return TransformersEngine(lambda: load(weights, options), weights, options, capabilities(options))


def _placed(options: DecodingOptions) -> tuple[torch.dtype, str]:
    """Return the number format of the weights, and the device that they are loaded to."""
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = options.dtype or default_format(cpu=device.startswith("cpu"))
    dtype: torch.dtype = getattr(torch, name)
    return dtype, device


def _load_reward(weights: ModelWeights, options: TransformersOptions) -> Any:
    with quiet_loading():
        rating = load_reward_model(weights, *_placed(options))
    if weights.adapter is not None:
        merge(rating, weights.adapter)
    return rating


def load_model(weights: ModelWeights, options: DecodingOptions) -> Any:
    """Load a model that generates, with its adapter merged. Raises ModelError if it cannot be loaded."""
    dtype, device = _placed(options)
    try:
        with quiet_loading():
            from transformers import AutoModelForCausalLM

            model: Any = AutoModelForCausalLM.from_pretrained(str(weights.path), dtype=dtype)
        model = model.to(device)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"transformers cannot load {weights.name} ({weights.path}): {error}") from None
    if weights.adapter is not None:
        beside = unmerged_settings(weights.adapter) is not None
        (attach if beside else merge)(model, weights.adapter)
    return model.eval()


class TransformersEngine:
    """One model (with its adapter merged in memory), decoded by a dedicated thread.

    ``load``: loads the model, or several as one. ``weights``: whose tokenizer and chat template are used.
    ``draft``: tokens that are drafted at a time (see :mod:`.drafting`). ``beside``: the others of several.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        weights: ModelWeights,
        options: DecodingOptions,
        offered: frozenset[Capability],
        draft: int = 0,
        beside: Sequence[ModelWeights] = (),
    ) -> None:
        self.capabilities = offered
        context = min(
            context_length(each.path, options.max_model_len, default=2048) for each in (weights, *beside)
        )
        self._prompts = Prompts(weights.path, context, weights.adapter, options.template())
        calls = None if options.tool_parser is None else _READERS[options.tool_parser]
        self._reader = AnswerReader(self._prompts.tokenizer, self._prompts.markers, calls)
        self._inbox: queue.SimpleQueue[RequestBatch | None] = queue.SimpleQueue()
        model = load()
        self.vocab_size: int | None = vocabulary(weights.path)
        if isinstance(model, JointModel):
            self.vocab_size = model.width
        limit = None
        if options.thinking_tokens is not None:
            markers = self._prompts.markers
            limit = ThoughtLimit.of(options.thinking_tokens, markers, self._prompts.tokenizer)
        worker = threading.Thread(
            target=_serve,
            args=(self._inbox, model, self._prompts.tokenizer, options.batch_size, limit, draft),
            name="gristmill-transformers",
            daemon=True,
        )
        worker.start()
        self._gate = threading.Lock()
        self._closed = False
        # Holds no reference to this object, so that dropping the engine stops its thread.
        self._stop = weakref.finalize(self, _stop, self._inbox, worker)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions in the order of the requests. Raises EngineError for the whole call.

        Not retryable: an unsupported request, named in the message. Retryable: decoding failed (out of
        memory, for example), or the engine was closed.
        """
        check(requests, self.capabilities, "transformers")
        if not requests:
            return []
        tokens = await asyncio.to_thread(self._prompts.tokens, requests)
        loop = asyncio.get_running_loop()
        batch = RequestBatch(requests, tokens, loop, loop.create_future(), self._reader)
        with self._gate:
            if self._closed:
                raise EngineError("the engine was closed", retryable=True)
            self._inbox.put(batch)
        try:
            return await batch.future
        finally:
            batch.over = True  # the rows of a cancelled call are dropped

    async def close(self) -> None:
        """Drop requests in flight, free the model and wait for the thread to end."""
        with self._gate:
            self._closed = True
        await asyncio.to_thread(self._stop)


def _stop(inbox: queue.SimpleQueue[RequestBatch | None], worker: threading.Thread) -> None:
    inbox.put(None)
    if worker is not threading.current_thread():
        worker.join()


def _serve(
    inbox: queue.SimpleQueue[RequestBatch | None],
    model: Any,
    tokenizer: Any,
    size: int,
    limit: ThoughtLimit | None,
    draft: int,
) -> None:
    """The thread: decode waiting requests, ``size`` at a time, until None arrives. ``limit``: of thoughts."""
    ends = _ends(model, tokenizer)
    waiting: deque[_Place] = deque()
    open_: dict[int, RequestBatch] = {}
    closed = False
    while not closed:
        while not closed and (not waiting or not inbox.empty()):
            batch = inbox.get()
            closed = batch is None
            if batch is not None:
                open_[id(batch)] = batch
                waiting.extend((batch, index) for index in range(len(batch.requests)))
        if closed:
            break
        taken = [(batch, index) for batch, index in _take(waiting, size) if not batch.over]
        try:
            if taken and taken[0][0].requests[taken[0][1]].reward:
                rate(model, [_given(batch, index) for batch, index in taken])
            elif taken and _is_scored(taken[0]):
                score(model, [_given(batch, index) for batch, index in taken])
            elif taken:
                rows = [_row(batch, index, model, limit) for batch, index in taken]
                if draft:
                    decode_drafted(model, tokenizer, rows, ends, draft)
                else:
                    decode(model, tokenizer, rows, ends)
        except Exception as error:  # most likely out of memory; the callers decide what to do
            for batch, _ in taken:
                batch.fail(f"transformers failed: {type(error).__name__}: {error}", retryable=True)
        for key in [key for key, batch in open_.items() if batch.over or not batch.left]:
            del open_[key]
    for batch in open_.values():
        batch.fail("the engine was closed", retryable=True)
    del model
    gc.collect()


def _take(waiting: deque[_Place], size: int) -> list[_Place]:
    """Take the first request and up to ``size - 1`` others that can share its batch.

    Those are the next ones to be decoded or, for a given text, those of the most similar length.
    """
    first = waiting[0]
    alike = [place for place in waiting if _is_scored(place) == _is_scored(first)]
    if _is_scored(first):
        length = _length(first)
        alike.sort(key=lambda place: abs(_length(place) - length))
    taken = alike[:size]
    gone = set(taken)
    left = [place for place in waiting if place not in gone]
    waiting.clear()
    waiting.extend(left)
    return taken


def _is_scored(place: _Place) -> bool:
    batch, index = place
    request = batch.requests[index]
    return request.continuation is not None or request.reward


def _length(place: _Place) -> int:
    batch, index = place
    return len(batch.tokens[index])


def _given(batch: RequestBatch, index: int) -> GivenRow:
    tokens = batch.tokens[index]
    return GivenRow(batch.requests[index], tokens.prompt, tokens.given, partial(batch.answer, index))


def _row(batch: RequestBatch, index: int, model: Any, limit: ThoughtLimit | None) -> Row:
    import torch

    request = batch.requests[index]
    limited = limit if request.messages is not None else None
    return Row(
        request=request,
        prompt=batch.tokens[index].prompt,
        answer=partial(batch.answer, index),
        wanted=lambda: not batch.over,
        generator=torch.Generator(device=model.device).manual_seed(request.seed),
        thought=None if limited is None else Thought.after(limited, batch.tokens[index].prompt),
    )


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    # A reward model has no settings for generation.
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
    return frozenset(token for token in ends if token is not None)
