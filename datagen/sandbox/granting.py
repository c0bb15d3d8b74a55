"""What the judge lets the program have of the tests' objects, and of the library by its name."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from . import describing
from .specials import SPECIALS
from .wire import Malformed

#: Importing these does more than to define names.
_LOUD = frozenset(("antigravity", "this", "idlelib", "turtledemo"))
#: What the program may read of the functions and objects that tests give it, beside public attributes.
_READABLE = SPECIALS | {"__name__", "__qualname__", "__doc__", "__module__"}
#: Through these the tests' own variables could be reached.
FRAMES = (
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.CodeType,
    types.TracebackType, types.CellType, types.ModuleType,
)  # fmt: skip


def readable(target: Any, name: Any) -> bool:
    """Whether the program may read this attribute.

    Of the tests' own objects it may read what is public; of those of the library, whose code it has itself, also
    what begins with one underscore.
    """
    if type(name) is not str:
        return False
    if not name.startswith("_") or name in _READABLE:
        return True
    kind = target if isinstance(target, type) else type(target)
    return not name.startswith("__") and describing.standard_name(kind) is not None


def check_changeable(target: Any, name: Any) -> None:
    """Raises AttributeError where the program may not change it."""
    held = isinstance(target, (type, types.FunctionType, types.MethodType, types.ModuleType))
    hidden = type(name) is not str or name.startswith("_")
    if held or hidden or callable(getattr(type(target), name, None)):
        raise AttributeError(f"the program cannot change {name!r} of what the tests gave it")


def standard_class(name: str) -> Any:
    """The class of the library that is told as ``module:name``. Raises Malformed for all else."""
    module, _, path = name.partition(":")
    top = module.partition(".")[0]
    if top not in (sys.stdlib_module_names | describing.PACKAGES) - describing.FRAMEWORKS - _LOUD:
        raise Malformed(f"a class of {module}")
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
        if isinstance(found, types.ModuleType):
            raise Malformed(f"{name} is in another module")
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, path):
        raise Malformed(f"{name} is no class of that module")
    return found


def module(name: str) -> types.ModuleType:
    """The judge's own module of this name; an empty one where there is none, or importing it has effects."""
    if name in sys.modules:
        return sys.modules[name]
    first, *rest = name.split(".")
    if first in describing.FRAMEWORKS | _LOUD or any(part.startswith("__") for part in (first, *rest)):
        return types.ModuleType(name)
    try:
        return importlib.import_module(name)
    except Exception:
        return types.ModuleType(name)
