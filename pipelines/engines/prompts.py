"""Conversion of requests to tokens, with the model's own chat template and tokenizer."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...contracts.chat_templates import ChatTemplates, read_chat_templates
from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Request
from .end_of_turn import end_of_answer
from .requests import check_length
from .thinking import ModelTemplate, markers_of, template_switch
from .tool_calls import for_template
from .user_turn import end_tokens, open_user_turn


def context_length(path: Path, asked: int | None, default: int) -> int:
    """Return the context length: ``asked``, else ``default`` limited to the model's own.

    Raises ModelError if the directory has no readable ``config.json``.
    """
    limit = _config(path).get("max_position_embeddings")
    if asked is not None:
        return asked
    return min(default, int(limit)) if limit else default


def vocabulary(path: Path) -> int | None:
    """Return the size of the vocabulary. Raises ModelError as :func:`context_length` does."""
    size = _config(path).get("vocab_size")
    return int(size) if size else None


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a model directory: config.json cannot be read ({error})") from None
    text: dict[str, Any] = config.get("text_config", config)
    return text


def trained_templates(adapter: Path | None) -> ChatTemplates:
    """Return the chat templates that an adapter was trained with; none if it has none of its own."""
    return () if adapter is None else read_chat_templates(adapter)


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """``prompt``: at least one token. ``given``: tokens of the request's continuation, if it has one.

    ``begun``: the chat template opened a thought at the end of the prompt.
    """

    prompt: list[int]
    given: list[int]
    begun: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.given)


class Prompts:
    """Tokenizes requests for one model. Safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        context: int,
        adapter: Path | None = None,
        template: ModelTemplate | None = None,
    ) -> None:
        """``path``: a model directory with a tokenizer. ``context``: context length in tokens.

        ``adapter``: a student's directory. Its chat template is used if it has one: that of its training.
        """
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(path))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: the tokenizer cannot be loaded: {error}") from None
        if trained := trained_templates(adapter):
            self.tokenizer.chat_template = dict(trained)
        told = template or ModelTemplate()
        self.markers = markers_of(told.thinking, self.tokenizer)
        self._arguments = {**template_switch(told.thinking, self.tokenizer), **told.arguments}
        self.context = context
        self._ends = end_tokens(path, self.tokenizer)
        self._lock = threading.Lock()

    def tokens(self, requests: Sequence[Request]) -> list[RequestTokens]:
        """Return the token ids of each request.

        Messages are rendered by the chat template, which opens the requested turn. The samples of one
        prompt are rendered and tokenized once. A continuation is tokenized by itself, as training does, so
        that no token spans the end of the prompt. Raises EngineError (not retryable), naming the request, if
        the template refuses it or it is too long.
        """
        with self._lock:
            chats = self._encode({_chat_key(r): r for r in requests if r.messages is not None})
            texts = self._encode_plain({r.prompt for r in requests if r.prompt is not None})
            given = self._encode_given(requests)
        encoded = []
        for request, own in zip(requests, given, strict=True):
            begun = False
            if request.messages is not None:
                ids, begun = chats[_chat_key(request)]
            elif request.prompt is not None:
                ids = texts[request.prompt]
            else:
                ids = list(request.prompt_tokens or ())
            if request.continuation is not None and not ids:
                ids = self._start()
            tokens = RequestTokens(ids, own, begun)
            check_length(request, len(tokens.prompt), self.context, len(tokens.given))
            encoded.append(tokens)
        return encoded

    def _encode_given(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return the tokens of each request's continuation; none if it has none."""
        if all(request.continuation is None for request in requests):
            return [[] for _ in requests]
        texts = [request.continuation or "" for request in requests]
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [
            [*own, *self._end_of_turn(request)] if request.closed and own else own
            for request, own in zip(requests, ids, strict=True)
        ]

    def _start(self) -> list[int]:
        """Return the token that a text without a prompt follows: most tokenizers have one for this."""
        tokens = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return [token for token in tokens if token is not None][:1]

    def _end_of_turn(self, request: Request) -> list[int]:
        """Return the tokens that end an answer to the request. Raises EngineError if there are none."""
        plain = [] if self.tokenizer.eos_token_id is None else [int(self.tokenizer.eos_token_id)]
        tokens = plain if request.messages is None else self._after_answer
        if not tokens:
            raise EngineError(
                f"request {request.id!r}: no token at which decoding stops ends the assistant's turn in the "
                "model's chat template: score the text without its end of turn",
                retryable=False,
            )
        return tokens

    @cached_property
    def _after_answer(self) -> list[int]:
        return end_of_answer(self.tokenizer, self._ends, self._arguments)

    def _encode(self, chats: dict[str, Request]) -> dict[str, tuple[list[int], bool]]:
        """Return the tokens of each prompt, and whether it ends inside of a thought."""
        if not chats:
            return {}
        rendered = [self._render(request) for request in chats.values()]
        # The template writes the special tokens itself.
        ids = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        begun = [self.markers.begun(text) for text in rendered]
        return dict(zip(chats, zip(ids, begun, strict=True), strict=True))

    def _encode_plain(self, texts: set[str]) -> dict[str, list[int]]:
        ordered = sorted(texts)
        return dict(zip(ordered, self.tokenizer(ordered)["input_ids"], strict=True)) if ordered else {}

    def _render(self, request: Request) -> str:
        if self.tokenizer.chat_template is None:
            raise EngineError(
                f"request {request.id!r} has messages, but the model has no chat template: use an instruct "
                "model, or ask with a plain prompt",
                retryable=False,
            )
        turns = request.messages or ()
        try:
            if request.opening == "user":
                return open_user_turn(self.tokenizer, turns, self._ends, self._arguments)
            text: str = self.tokenizer.apply_chat_template(
                [for_template(dict(turn)) for turn in turns],
                tools=None if request.tools is None else json.loads(request.tools),
                add_generation_prompt=not request.reward,
                tokenize=False,
                **self._arguments,
            )
        except Exception as error:  # a template may raise anything: roles it refuses, missing turns
            raise EngineError(
                f"request {request.id!r}: the model's chat template refuses the messages: {error}",
                retryable=False,
            ) from None
        return text


def _chat_key(request: Request) -> str:
    """Return the key of requests with the same prompt: whose turn is opened, the turns before it, the
    tools."""
    return json.dumps([request.opening, request.reward, request.messages, request.tools])
