"""Runs a program's top level as a module of its own."""

from __future__ import annotations

import linecache
import random
import sys
import types
from io import StringIO
from typing import Any

PROGRAM = "<program>"


#: The seed of ``random`` that runs inherit from the zygote; None if there is none.
_seeded: int | None = None


def seed(number: int | None) -> None:
    """Seed ``random`` and NumPy. Otherwise each run would continue from the state of the zygote."""
    if number is not None and number == _seeded:
        return
    random.seed(number)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(number)


def seed_beforehand(number: int) -> None:
    """Seed ``random`` in the zygote, so that runs with this seed need not do so."""
    global _seeded
    random.seed(number)
    _seeded = number


def module(name: str) -> dict[str, Any]:
    """Create an importable module and return its namespace."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    return vars(made)


def remember(source: str, name: str) -> None:
    """Make source text that is not in a file available to tracebacks and ``inspect.getsource``."""
    lines = StringIO(source, newline=None).readlines()  # as Python counts them: a form feed ends none
    linecache.cache[name] = (len(source), None, lines, name)


def define(source: str, name: str = "program", filename: str = PROGRAM) -> dict[str, Any]:
    """Run a program's top level and return its namespace. Raises what the program raises."""
    remember(source, filename)
    space = module(name)
    exec(compile(source, filename, "exec", dont_inherit=True), space)
    return space
