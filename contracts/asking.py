"""Asks an engine about many rows so that a request that it refuses costs no other one."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import EngineError
from .inference import Completion, Engine, Request


async def ask(engine: Engine, requests: Sequence[Request]) -> list[Completion | EngineError]:
    """Return a completion for each request, or the error that this request alone causes.

    An answer that is not valid Unicode, and so cannot be stored, is such an error. If an engine fails a call
    as a whole and a retry cannot help, the call is halved until the faulty requests are isolated. Such errors
    that a retry may solve are raised, and the run tries again.
    """
    if not requests:
        return []
    try:
        answers = await engine.generate(requests)
        return [each if isinstance(each, EngineError) else _text_only(each) for each in answers]
    except EngineError as error:
        if error.retryable:
            raise
        if len(requests) == 1:
            return [error]
    half = len(requests) // 2
    return [*await ask(engine, requests[:half]), *await ask(engine, requests[half:])]


async def ask_all(engine: Engine, requests: Sequence[Request]) -> list[Completion | EngineError]:
    """:func:`ask` for a decision about all rows, which must not be made while an answer may still come.

    Raises the error of a request that a retry may answer.
    """
    answers = await ask(engine, requests)
    for answer in answers:
        if isinstance(answer, EngineError) and answer.retryable:
            raise answer
    return answers


def _text_only(completion: Completion) -> Completion | EngineError:
    try:
        completion.text.encode()
    except UnicodeEncodeError as error:
        told = f"character {error.start} of the answer is a lone surrogate, which is not valid Unicode"
        return EngineError(told, retryable=False)
    return completion
