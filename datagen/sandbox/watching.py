"""Forwards effects of the tests to the program's process: seeds, patches, environment variables, logs."""

from __future__ import annotations

import logging
import os
import random
import sys
import types
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import naming

if TYPE_CHECKING:
    from .judge import Judge

#: The original function, since tests may replace it.
_getcwd = os.getcwd


def watch(judge: Judge, tests: str) -> None:
    """Start to forward those effects that the text of the tests suggests."""
    names = judge.words = naming.words(tests)
    if "random" in names:
        watch_random(judge)
    if names & {"patch", "setattr", "mock", "monkeypatch", "builtins"}:
        _watch_modules(judge, names & set(sys.modules))
    if names & {"assertLogs", "assertNoLogs", "caplog", "logging"}:
        judge.ask("tell logs", None)


def watch_random(judge: Judge) -> None:
    """Forward ``random.seed`` to the program."""
    seed = random.seed

    def seeded(a: Any = None, version: int = 2) -> None:
        seed(a, version)
        if isinstance(a, (int, float, str)):
            judge.random_seed = [a]

    random.seed = seeded


def _watch_modules(judge: Judge, names: Iterable[str]) -> None:
    for name in names:
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            module.__class__ = type("module", (_Watched,), {"_judge_": judge, "_before_": {}})


class _Watched(types.ModuleType):
    """A module whose patched attributes are also patched in the program's process."""

    _judge_: Judge
    _before_: dict[str, Any]

    def __setattr__(self, name: str, value: Any) -> None:
        before = self._before_.setdefault(name, getattr(self, name, None))
        super().__setattr__(name, value)
        if value is before:
            self._judge_.ask("patch", [self.__name__, name])
        else:
            self._judge_.ask("patch", [self.__name__, name], value)


def logged(name: str, level: int, text: str, line: int) -> None:
    """Log a record of the program in this process."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        logger.handle(logger.makeRecord(name, level, "<program>", line, text, (), None))


def unknown(other: Any) -> Any:
    """A random value similar to ``other`` that the program cannot know."""
    number = random.Random(os.urandom(8)).getrandbits(60)
    if isinstance(other, str):
        return f"{number:x}"
    if isinstance(other, (int, float)):
        return type(other)(number) if type(other) in (int, float) else number
    if isinstance(other, list):
        return [f"{number:x}"]
    if isinstance(other, (tuple, set, frozenset)):
        return (f"{number:x}",)
    return type(f"T{number:x}", (), {})()


def strict_filters() -> list[Any]:
    """The warning filters if one of them turns warnings into errors; otherwise empty.

    The program must raise such errors itself.
    """
    strict = any(each[0] == "error" for each in warnings.filters)
    return list(warnings.filters) if strict else []


def environment() -> Any:
    return dict(os.environ._data)  # type: ignore[attr-defined]


def folder() -> str:
    try:
        return _getcwd()
    except OSError:
        return "/"
