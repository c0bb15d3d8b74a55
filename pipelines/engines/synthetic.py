"""Text generation without a model: for dry runs, previews and tests of the runner itself.

It is a word-bigram model whose transitions follow from the digest of the weights (another adapter is thus
another model) and whose topic words come from the prompt. Its text depends only on the prompt, the seed and
the settings. One token is one word.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Capability, Completion, EngineSettings, Request, Sampling
from .options import EngineOptions
from .requests import check, check_length
from .synthetic_calls import drawn_call
from .tool_calls import numbered

T = TypeVar("T")
NEEDS_WEIGHTS = False
APART = False

#: Token 0 ends the answer; the last ``_TOPICS`` tokens stand for words of the prompt.
_LEXICON = """
    the a of and to in is that it for on with as are this be from or which by an at not but have they
    each can more one first then when where small large clear short long new old early late water grain
    stone wheel river mill field bread morning winter light wind road house garden machine number letter
    story answer question reason example result part line word list table grows turns keeps makes shows
    finds gives takes holds moves opens helps needs writes reads slowly often always never again
    together near under over between after before because while simple careful bright quiet strong
    steady plain. good. done. true. enough. here. there. now.
""".split()  # noqa: SIM905 - a hundred quoted words would be harder to read
_TOPICS = 16
_VOCABULARY = 1 + len(_LEXICON) + _TOPICS
_WORD = re.compile(r"\w+(?:'\w+)?")


class SyntheticOptions(EngineOptions):
    """Options of the synthetic engine."""

    latency: float = Field(default=0.0, ge=0)
    """Duration of each call, in seconds."""
    max_model_len: int = Field(default=8192, ge=2)
    """Maximum length of prompt and answer together, in words."""
    thinking: bool = False
    """Write a thought before each answer, of at most half the words."""
    request_log: Path | None = None
    """File to which the id of each request is appended, one per line, before it is answered. By default there
    is none."""


OPTIONS = SyntheticOptions


def capabilities(options: SyntheticOptions) -> frozenset[Capability]:
    students: frozenset[Capability] = frozenset(
        {"adapter", "dora", "trained_parts", "delta", "added_modules"}
    )
    return students | {"seed", "logprobs", "stop", "prompt_tokens", "user_turn", "likelihood", "tools"}


def start(settings: EngineSettings, options: SyntheticOptions) -> SyntheticEngine:
    return SyntheticEngine(settings.weights.digest if settings.weights else "", options)


class SyntheticEngine:
    """Serves the word model that ``digest`` names."""

    def __init__(self, digest: str, options: SyntheticOptions) -> None:
        self.capabilities = capabilities(options)
        self.vocab_size: int | None = _VOCABULARY
        self._digest = digest
        self._options = options
        self._rows: dict[int, _WordDistribution] = {}
        if options.request_log is not None and not options.request_log.parent.is_dir():
            raise ModelError(f"request_log: there is no folder {options.request_log.parent}")

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions in the order of the requests.

        Raises EngineError (not retryable) for unsupported requests."""
        check(requests, self.capabilities, "synthetic")
        self._log(requests)
        if self._options.latency:
            await asyncio.sleep(self._options.latency)
        return [
            self._write(request)
            if request.continuation is None
            else self._score(request, request.continuation)
            for request in requests
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def _log(self, requests: Sequence[Request]) -> None:
        if self._options.request_log is None or not requests:
            return
        lines = "".join(f"{request.id}\n" for request in requests).encode()
        try:
            file = os.open(self._options.request_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, lines)
            finally:
                os.close(file)
        except OSError as error:
            raise EngineError(f"request_log: {error}", retryable=False) from None

    def _write(self, request: Request) -> Completion:
        prompt = _text(request)
        words = prompt.split()
        check_length(request, len(words), self._options.max_model_len)
        topics = [word for word in _WORD.findall(prompt) if len(word) > 3] or ["nothing"]
        key = f"{self._digest}|{request.seed}|{request.sampling.temperature > 0}|{prompt}"
        draw = random.Random(blake2b(key.encode(), digest_size=16).digest())
        shift = draw.randrange(len(topics)) if request.sampling.temperature > 0 else 0
        names = ["", *_LEXICON, *(topics[(shift + i) % len(topics)].lower() for i in range(_TOPICS))]
        if request.tools is not None and (call := drawn_call(request.tools, topics, draw)) is not None:
            return Completion(request.id, "", (0,), "stop", len(words), tool_calls=numbered([call], request))
        if self._options.thinking and request.messages is not None and request.opening == "assistant":
            return self._think(request, names, draw, len(words))
        return self._decode(request, names, draw, len(words))

    def _think(self, request: Request, names: list[str], draw: random.Random, prompt: int) -> Completion:
        most = request.sampling.max_tokens
        aside = replace(request, sampling=replace(request.sampling, max_tokens=max(1, most // 2), stop=()))
        thought = self._decode(aside, names, draw, prompt)
        left = most - len(thought.tokens)
        if left < 1:
            return replace(thought, text="", reasoning=thought.text)
        rest = replace(request, sampling=replace(request.sampling, max_tokens=left))
        answer = self._decode(rest, names, draw, prompt)
        return replace(
            answer,
            reasoning=thought.text,
            tokens=thought.tokens + answer.tokens,
            logprobs=_joined(thought.logprobs, answer.logprobs),
            top_logprobs=_joined(thought.top_logprobs, answer.top_logprobs),
            top_texts=_joined(thought.top_texts, answer.top_texts),
        )

    def _decode(self, request: Request, names: list[str], draw: random.Random, prompt: int) -> Completion:
        sampling = request.sampling
        tokens: list[int] = []
        text, finish, last = "", "length", 0
        logprobs: list[float] = []
        top: list[tuple[float, ...]] = []
        texts: list[tuple[str, ...]] = []
        while len(tokens) < sampling.max_tokens:
            row = self._row(last)
            last = row.sample(sampling, draw, tokens)
            tokens.append(last)
            if sampling.logprobs is not None:
                logprobs.append(row.logprobs[last])
                top.append(row.falling[: sampling.logprobs])
            if sampling.logprobs is not None and sampling.top_texts:
                texts.append(tuple(names[place] for place in row.order[: sampling.logprobs]))
            if last == 0:
                finish = "stop"
                break
            word = names[last].capitalize() if not text or text.endswith(".") else names[last]
            text = f"{text} {word}" if text else word
            cut = min((at for at in (text.find(end) for end in sampling.stop if end) if at >= 0), default=-1)
            if cut >= 0:
                text, finish = text[:cut], "stop"
                break
        asked = sampling.logprobs is not None
        return Completion(
            request_id=request.id,
            text=text,
            tokens=tuple(tokens),
            finish=finish,
            prompt_tokens=prompt,
            logprobs=tuple(logprobs) if asked else None,
            top_logprobs=tuple(top) if asked else None,
            top_texts=tuple(texts) if asked and sampling.top_texts else None,
        )

    def _score(self, request: Request, text: str) -> Completion:
        """Answer with the given text. Each word counts as one of the model's words, by its hash."""
        tokens = [1 + _hash(word) % (_VOCABULARY - 1) for word in text.split()]
        if request.closed and tokens:
            tokens.append(0)
        prompt = _text(request).split() or [""]
        check_length(request, len(prompt), self._options.max_model_len, len(tokens))
        last = _hash(" ".join(prompt)) % _VOCABULARY
        return Completion(
            request_id=request.id,
            text=text,
            tokens=tuple(tokens),
            finish="stop",
            prompt_tokens=len(prompt),
            logprobs=tuple(
                self._row(before).logprobs[token]
                for before, token in zip([last, *tokens], tokens, strict=False)
            ),
        )

    def _row(self, last: int) -> _WordDistribution:
        row = self._rows.get(last)
        if row is None:
            row = self._rows[last] = _WordDistribution(self._digest, last)
        return row


def _joined(first: tuple[T, ...] | None, second: tuple[T, ...] | None) -> tuple[T, ...] | None:
    return None if first is None or second is None else first + second


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _text(request: Request) -> str:
    if request.messages is not None:
        turns = [f"{turn['role']}: {turn['content']}" for turn in request.messages]
        return "\n".join([*turns, "user:"] if request.opening == "user" else turns)
    if request.prompt is not None:
        return request.prompt
    return " ".join(str(token) for token in request.prompt_tokens or ())


class _WordDistribution:
    """The distribution of the next word after one word."""

    def __init__(self, digest: str, last: int) -> None:
        draw = random.Random(blake2b(f"{digest}|{last}".encode(), digest_size=16).digest())
        logits = [draw.gauss(0.0, 1.5) for _ in range(_VOCABULARY)]
        logits[last] = -12.0  # a word rarely follows itself
        total = math.log(sum(math.exp(logit) for logit in logits))
        self.logprobs = [logit - total for logit in logits]
        # The answer ends after about forty words, and has at least one.
        self.logprobs[0] = -12.0 if last == 0 else math.log(1 / 40)
        total = math.log(sum(math.exp(value) for value in self.logprobs))
        self.logprobs = [value - total for value in self.logprobs]
        self._cut: dict[tuple[float, float, int, float], tuple[list[int], list[float]]] = {}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The tokens, likeliest first."""
        return tuple(sorted(range(_VOCABULARY), key=lambda token: -self.logprobs[token]))

    @cached_property
    def falling(self) -> tuple[float, ...]:
        return tuple(self.logprobs[token] for token in self.order)

    def sample(self, sampling: Sampling, draw: random.Random, before: Sequence[int]) -> int:
        """Return the next token: greedy at temperature 0, else drawn."""
        if sampling.repetition_penalty != 1.0:
            seen = set(before)
            scores = [
                v * sampling.repetition_penalty if i in seen else v for i, v in enumerate(self.logprobs)
            ]
            choices, steps = _kept(scores, sampling)
        else:
            key = (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p)
            if key not in self._cut:
                self._cut[key] = _kept(self.logprobs, sampling)
            choices, steps = self._cut[key]
        if len(choices) == 1:
            return choices[0]
        return choices[bisect(steps, draw.random() * steps[-1], 0, len(choices) - 1)]


def _kept(scores: Sequence[float], sampling: Sampling) -> tuple[list[int], list[float]]:
    """Return the tokens that may be drawn, likeliest first, and their cumulative weights."""
    order = sorted(range(len(scores)), key=lambda token: -scores[token])
    if sampling.temperature <= 0:
        return order[:1], [1.0]
    best = scores[order[0]]
    weights = [math.exp((scores[token] - best) / sampling.temperature) for token in order]
    keep = sampling.top_k if sampling.top_k > 0 else len(order)
    weights = [weight for weight in weights[:keep] if weight >= sampling.min_p]
    steps = list(accumulate(weights))
    if sampling.top_p < 1.0:
        nucleus = 1 + bisect(steps, sampling.top_p * steps[-1] * (1 - 1e-12), 0, len(steps) - 1)
        steps = steps[:nucleus]
    return order[: len(steps)], steps
