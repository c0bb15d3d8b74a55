"""Conversion of requests to prompt tokens, with the model's own chat template and tokenizer."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Request
from .requests import check_length
from .user_turn import end_tokens, open_user_turn

#: The key of requests with the same prompt: whose turn is opened, and the turns before it.
_Chat: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


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


class Prompts:
    """Tokenizes requests for one model. Safe to call from several threads."""

    def __init__(self, path: Path, context: int) -> None:
        """``path``: a model directory with a tokenizer. ``context``: context length in tokens."""
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(path))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: the tokenizer cannot be loaded: {error}") from None
        self.context = context
        self._ends = end_tokens(path, self.tokenizer)
        self._lock = threading.Lock()

    def tokens(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return prompt token ids, one list per request.

        Messages are rendered by the chat template, which opens the requested turn. The samples of one
        prompt are rendered and tokenized once. Raises EngineError (not retryable), naming the request, if
        the template refuses it or it is too long.
        """
        with self._lock:
            chats = self._encode({self._chat_key(r): r for r in requests if r.messages is not None})
            texts = self._encode_plain({r.prompt for r in requests if r.prompt is not None})
        encoded = []
        for request in requests:
            if request.messages is not None:
                ids = chats[self._chat_key(request)]
            elif request.prompt is not None:
                ids = texts[request.prompt]
            else:
                ids = list(request.prompt_tokens or ())
            check_length(request, len(ids), self.context)
            encoded.append(ids)
        return encoded

    @staticmethod
    def _chat_key(request: Request) -> _Chat:
        return request.opening, tuple((turn["role"], turn["content"]) for turn in request.messages or ())

    def _encode(self, chats: dict[_Chat, Request]) -> dict[_Chat, list[int]]:
        if not chats:
            return {}
        rendered = [self._render(request) for request in chats.values()]
        # The template writes the special tokens itself.
        ids = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return dict(zip(chats, ids, strict=True))

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
                return open_user_turn(self.tokenizer, turns, self._ends)
            text: str = self.tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # a template may raise anything: roles it refuses, missing turns
            raise EngineError(
                f"request {request.id!r}: the model's chat template refuses the messages: {error}",
                retryable=False,
            ) from None
        return text
