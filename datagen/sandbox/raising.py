"""Translates exceptions of the program for its tests. Some would otherwise end a loop or a test unnoticed."""

from __future__ import annotations

import sys
from collections.abc import Set
from typing import Any

from .describing import FRAMEWORKS

#: Exceptions by which an iterator ends a loop, and the requests that may raise them.
_ENDING = (StopIteration, StopAsyncIteration, GeneratorExit)
_DRAWING = frozenset(("next", "send", "throw", "anext", "step", "close", "__next__", "__anext__"))
_TOLD_OF_ENDS = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit", "__next__", "__anext__"))
#: A task group ignores this exception of a task, so it is only raised as such if the tests name it.
_TOLD_OF_CANCELLING = "CancelledError"


def told(error: BaseException, verb: str, atom: Any, words: Set[str], *, given: bool) -> BaseException:
    """The exception to raise in the tests when the program raised ``error`` on this request.

    ``words``: the words in the text of the tests. ``given``: the tests passed this exception to the program.
    """
    drawing = verb in _DRAWING or (verb == "op" and atom in _DRAWING)
    if isinstance(error, _ENDING) and not drawing and words.isdisjoint(_TOLD_OF_ENDS):
        # It would silently end a loop of the tests.
        return RuntimeError(f"the program raised {type(error).__name__}")
    if _cancels(error) and _TOLD_OF_CANCELLING not in words:
        return RuntimeError("the program raised CancelledError")
    module = str(getattr(type(error), "__module__", ""))
    if given and module.partition(".")[0] in FRAMEWORKS:
        # An exception of a test framework, passed to the program, must not reach the framework as its own.
        return Exception(f"{type(error).__name__} came out of the program")
    return error


def _cancels(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
