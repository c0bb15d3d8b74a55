"""How an exception of the program is raised in its tests, where some would end a loop or a test unseen."""

from __future__ import annotations

import sys
from collections.abc import Set
from typing import Any

from .describing import FRAMEWORKS

#: What ends a loop, where an iterator raises it, and the requests that may come to that.
_ENDING = (StopIteration, StopAsyncIteration, GeneratorExit)
_DRAWING = frozenset(("next", "send", "throw", "anext", "step", "close", "__next__", "__anext__"))
_TOLD_OF_ENDS = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit", "__next__", "__anext__"))
#: What a group of tasks takes for the end of one that nobody need hear of, unless the tests speak of it.
_TOLD_OF_CANCELLING = "CancelledError"


def told(error: BaseException, verb: str, atom: Any, words: Set[str], *, given: bool) -> BaseException:
    """The exception to raise in the tests where the program raised this one, on this request.

    ``words``: what the text of the tests holds; ``given``: it is one that the tests gave to the program.
    """
    drawing = verb in _DRAWING or (verb == "op" and atom in _DRAWING)
    if isinstance(error, _ENDING) and not drawing and words.isdisjoint(_TOLD_OF_ENDS):
        # It would end a loop of the tests, unseen, wherever the program raises it.
        return RuntimeError(f"the program raised {type(error).__name__}")
    if _cancels(error) and _TOLD_OF_CANCELLING not in words:
        return RuntimeError("the program raised CancelledError")
    module = str(getattr(type(error), "__module__", ""))
    if given and module.partition(".")[0] in FRAMEWORKS:
        # What a test gave to the program comes back, and would mean something to the framework.
        return Exception(f"{type(error).__name__} came out of the program")
    return error


def _cancels(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
