"""Access rules of the judge: what the program may use of the tests' objects and of the standard library."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from . import describing
from .specials import SPECIALS
from .wire import Malformed

#: What a mock keeps for the tests: its answers, and the means to change its record.
_OF_RECORDERS = frozenset(("return_value", "side_effect", "reset_mock", "configure_mock", "mock_add_spec"))
#: Modules whose import has side effects.
_LOUD = frozenset(("antigravity", "this", "idlelib", "turtledemo"))
#: Attributes that the program may read on functions and objects of the tests, besides public ones.
_READABLE = SPECIALS | {"__name__", "__qualname__", "__doc__", "__module__"}
#: Types through which the program could reach variables of the tests.
FRAMES = (
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.CodeType,
    types.TracebackType, types.CellType, types.ModuleType,
)  # fmt: skip


def readable(target: Any, name: Any) -> bool:
    """Whether the program may read this attribute.

    On objects of the tests it may read public attributes. On objects of the standard library, whose code it
    has itself, it may also read attributes that start with one underscore.
    """
    if type(name) is not str or (name in _OF_RECORDERS and isinstance(target, _recorders())):
        return False
    if not name.startswith("_") or name in _READABLE:
        return True
    kind = target if isinstance(target, type) else type(target)
    return not name.startswith("__") and describing.standard_name(kind) is not None


def _recorders() -> tuple[type, ...]:
    """Classes of objects that record their calls. Empty if the tests have not imported mocks."""
    mock = sys.modules.get("unittest.mock")
    return () if mock is None else (mock.NonCallableMock,)


def check_changeable(target: Any, name: Any) -> None:
    """Raises AttributeError if the program may not change this attribute."""
    held = isinstance(target, (type, types.FunctionType, types.MethodType, types.ModuleType))
    hidden = type(name) is not str or name.startswith("_") or isinstance(target, _recorders())
    if held or hidden or callable(getattr(type(target), name, None)):
        raise AttributeError(f"the program cannot change {name!r} of an object of the tests")


def standard_class(name: str) -> Any:
    """The class of the standard library with the name ``module:name``. Raises Malformed otherwise."""
    module, _, path = name.partition(":")
    top = module.partition(".")[0]
    if top not in (sys.stdlib_module_names | describing.PACKAGES) - describing.FRAMEWORKS - _LOUD:
        raise Malformed(f"classes of {module} are not allowed")
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
        if isinstance(found, types.ModuleType):
            raise Malformed(f"{name} belongs to another module")
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, path):
        raise Malformed(f"{name} is not a class of that module")
    return found


def module(name: str) -> types.ModuleType:
    """The judge's own module of this name.

    It is empty if there is no such module or if its import has side effects.
    """
    if name in sys.modules:
        return sys.modules[name]
    first, *rest = name.split(".")
    if first in describing.FRAMEWORKS | _LOUD or any(part.startswith("__") for part in (first, *rest)):
        return types.ModuleType(name)
    try:
        return importlib.import_module(name)
    except Exception:
        return types.ModuleType(name)
