"""Asks an engine about many rows so that a request that it refuses costs no other one."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import EngineError
from .inference import Completion, Engine, Request


async def ask(
    engine: Engine, requests: Sequence[Request], *, whole: bool = False
) -> list[Completion | EngineError]:
    """Return a completion for each request, or the error that this request alone causes.

    An answer that is not valid Unicode, and so cannot be stored, is such an error. So is one without a text
    because the model called a tool, or thought until its tokens were spent; ``whole``: the caller reads such
    completions too. If an engine fails a call as a whole and a retry cannot help, the call is halved until
    the faulty requests are isolated. Such errors that a retry may solve are raised, and the run tries again.
    """
    if not requests:
        return []
    try:
        answers = await engine.generate(requests)
        return [each if isinstance(each, EngineError) else _read(each, whole) for each in answers]
    except EngineError as error:
        if error.retryable:
            raise
        if len(requests) == 1:
            return [error]
    half = len(requests) // 2
    return [
        *await ask(engine, requests[:half], whole=whole),
        *await ask(engine, requests[half:], whole=whole),
    ]


async def ask_all(engine: Engine, requests: Sequence[Request]) -> list[Completion | EngineError]:
    """:func:`ask` for a decision about all rows, which must not be made while an answer may still come.

    Raises the error of a request that a retry may answer.
    """
    answers = await ask(engine, requests)
    for answer in answers:
        if isinstance(answer, EngineError) and answer.retryable:
            raise answer
    return answers


def _read(completion: Completion, whole: bool) -> Completion | EngineError:
    called = [call["function"]["arguments"] for call in completion.tool_calls or ()]
    for text in (completion.text, completion.reasoning or "", *called):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            told = f"character {error.start} of the answer is a lone surrogate, which is not valid Unicode"
            return EngineError(told, retryable=False)
    missing = None if whole else without_answer(completion)
    return completion if missing is None else EngineError(missing, retryable=False)


def without_answer(completion: Completion) -> str | None:
    """Return why a completion has no text, if the model did something else; None if it has one."""
    if completion.tool_calls and not completion.text.strip():
        names = ", ".join(call["function"]["name"] for call in completion.tool_calls)
        return f"the model called a tool ({names}) and did not answer"
    if completion.cut_thinking and completion.finish == "length":
        return "the model thought until max_tokens was reached, and did not answer: raise max_tokens"
    if completion.cut_thinking:
        return "the model thought and ended without an answer"
    return None
