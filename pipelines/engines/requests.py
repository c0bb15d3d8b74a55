"""Checks of requests that all engines make before any work."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.errors import EngineError
from ...contracts.inference import Capability, Request


def check(requests: Sequence[Request], offered: frozenset[Capability], engine: str) -> None:
    """Refuse requests that the engine does not support, before the first one is sent.

    Raises EngineError (not retryable) that names the request and the capability it lacks.
    """
    for request in requests:
        given = [
            name for name in ("messages", "prompt", "prompt_tokens") if getattr(request, name) is not None
        ]
        if len(given) != 1:
            raise EngineError(
                f"request {request.id!r}: give exactly one of messages, prompt and prompt_tokens; "
                f"found {given or 'none'}",
                retryable=False,
            )
        needed = set(request.sampling.needs())
        if request.prompt_tokens is not None:
            needed.add("prompt_tokens")
        if request.continuation is not None:
            needed.add("likelihood")
        if request.reward:
            needed = {"reward"}
        if request.tools is not None:
            needed.add("tools")
            if request.messages is None:
                raise EngineError(
                    f"request {request.id!r}: tools require a conversation (messages)", retryable=False
                )
        if request.opening == "user":
            needed.add("user_turn")
            if request.messages is None:
                raise EngineError(
                    f"request {request.id!r}: opening a user's turn requires a conversation (messages)",
                    retryable=False,
                )
        if missing := sorted(needed - offered):
            raise EngineError(
                f"request {request.id!r} needs {', '.join(missing)}, which the engine {engine!r} does not "
                f"offer (it offers: {', '.join(sorted(offered)) or 'nothing'}). Use another engine, or leave "
                "the setting out.",
                retryable=False,
            )
        if request.sampling.max_tokens < 1:
            raise EngineError(
                f"request {request.id!r}: max_tokens is {request.sampling.max_tokens}; it must be at least 1",
                retryable=False,
            )


def check_length(request: Request, prompt_tokens: int, context: int, given: int = 0) -> None:
    """Refuse a prompt that leaves no room for its answer. ``context``: context length in tokens.

    ``given``: tokens of the request's continuation. Raises EngineError (not retryable) that names the
    request.
    """
    if prompt_tokens < 1:
        raise EngineError(f"request {request.id!r}: the prompt is empty (no tokens)", retryable=False)
    if request.reward:
        if prompt_tokens > context:
            raise EngineError(
                f"request {request.id!r}: a conversation of {prompt_tokens} tokens exceeds the context of "
                f"{context} tokens. Shorten it, or raise max_model_len.",
                retryable=False,
            )
    elif request.continuation is not None:
        _check_continuation(request, prompt_tokens, context, given)
    elif prompt_tokens + request.sampling.max_tokens > context:
        raise EngineError(
            f"request {request.id!r}: a prompt of {prompt_tokens} tokens and max_tokens of "
            f"{request.sampling.max_tokens} exceed the context of {context} tokens. Shorten the "
            "prompt, lower "
            "max_tokens or raise max_model_len.",
            retryable=False,
        )


def _check_continuation(request: Request, prompt_tokens: int, context: int, given: int) -> None:
    """Refuse a text to score that is empty, or too long. vLLM requires room for one more token."""
    if given < 1:
        raise EngineError(f"request {request.id!r}: the text to score is empty (no tokens)", retryable=False)
    if prompt_tokens + given >= context:
        raise EngineError(
            f"request {request.id!r}: a prompt of {prompt_tokens} tokens and a text to score of {given} "
            f"tokens do not fit the context of {context} tokens (one must stay free). Shorten them, or raise "
            "max_model_len.",
            retryable=False,
        )
