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


def check_length(request: Request, prompt_tokens: int, context: int) -> None:
    """Refuse a prompt that leaves no room for its answer. ``context``: context length in tokens.

    Raises EngineError (not retryable) that names the request.
    """
    if prompt_tokens < 1:
        raise EngineError(f"request {request.id!r}: the prompt is empty (no tokens)", retryable=False)
    if prompt_tokens + request.sampling.max_tokens > context:
        raise EngineError(
            f"request {request.id!r}: a prompt of {prompt_tokens} tokens and max_tokens of "
            f"{request.sampling.max_tokens} exceed the context of {context} tokens. Shorten the "
            "prompt, lower "
            "max_tokens or raise max_model_len.",
            retryable=False,
        )
