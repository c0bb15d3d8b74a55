"""Tells code of the standard library and of installed packages from code that claims their file names."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

_FROZEN = "<frozen "
#: Ids of the code objects that were loaded before any program. Their modules keep them alive.
_loaded: set[int] = set()


def remember_loaded() -> None:
    """Mark all code of the currently loaded modules as genuine."""
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()):
            for function in _functions(value):
                _loaded.update(map(id, _nested(function.__code__)))


def _functions(value: Any) -> Iterator[types.FunctionType]:
    found = vars(value).values() if isinstance(value, type) else (value,)
    for each in list(found):
        inside: tuple[Any, ...] = (each,)
        if isinstance(each, (staticmethod, classmethod)):
            inside = (each.__func__,)
        elif isinstance(each, property):
            inside = (each.fget, each.fset)
        for inner in inside:
            if type(inner) is types.FunctionType:
                yield inner
                wrapped = inner.__dict__.get("__wrapped__")
                if type(wrapped) is types.FunctionType:
                    yield wrapped


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            yield from _nested(constant)


class Genuine:
    """Whether a code object equals one compiled from a library file. The file name alone does not count."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = tuple(folder.rstrip("/") + "/" for folder in folders)
        self._known: dict[int, tuple[types.CodeType, bool]] = {}
        self._files: dict[str, frozenset[types.CodeType]] = {}
        self._library = os.path.dirname(os.__file__)

    def __call__(self, code: types.CodeType) -> bool:
        known = self._known.get(id(code))
        if known is None:
            known = self._known[id(code)] = (code, id(code) in _loaded or self._held(code))
        return known[1]

    def _held(self, code: types.CodeType) -> bool:
        file = self._file(code.co_filename)
        if file is None:
            return False
        if file not in self._files:
            self._files[file] = self._compiled(file)
        return code in self._files[file]

    def _file(self, name: str) -> str | None:
        if name.startswith(_FROZEN):
            path = os.path.join(self._library, name[len(_FROZEN) : -1].replace(".", "/"))
            return next(
                (found for found in (f"{path}.py", f"{path}/__init__.py") if os.path.isfile(found)), None
            )
        name = os.path.normpath(name)
        return name if name.startswith(self._folders) and os.path.isfile(name) else None

    def _compiled(self, file: str) -> frozenset[types.CodeType]:
        try:
            with open(file, "rb") as opened:
                return frozenset(_nested(compile(opened.read(), file, "exec", dont_inherit=True)))
        except (OSError, SyntaxError, ValueError):
            return frozenset()
