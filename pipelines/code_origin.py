"""Whose code a module is. A step's function is the user's own, or of a package that offers its functions.

A pipeline file is often somebody else's. Were every function of every installed package a step, a line of it could
start programs (``subprocess:check_output``) without a module beside it that a person can read. Part of the ground
floor.
"""

from __future__ import annotations

import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

#: A package that declares an entry point in one of these groups offers its functions as steps.
ENTRY_POINTS = ("gristmill.functions", "gristmill.operators")


def refusal(module: str) -> str | None:
    """Why functions of ``module`` are no steps; None where they may be. Imports nothing."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"{top} is a module of Python's standard library"
    if top == __name__.partition(".")[0]:
        return f"{top} offers its operators by their names, not its functions"
    if _is_installed(top) and top not in _offering():
        return f"{top} is an installed package that offers no steps (it has no entry point {ENTRY_POINTS[0]})"
    return None


def defining(function: Callable[..., Any]) -> tuple[str, str]:
    """The name of the module that defines a function (or another callable), and its qualified name there."""
    target: Any = inspect.unwrap(function)
    while isinstance(target, partial):
        target = inspect.unwrap(target.func)
    module = getattr(target, "__module__", None) or type(target).__module__
    return module, getattr(target, "__qualname__", type(target).__qualname__)


def _is_installed(top: str) -> bool:
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # __main__ of a notebook has no specification
        return False
    if found is None:
        return False
    places = (
        [found.origin] if found.has_location and found.origin else [*(found.submodule_search_locations or [])]
    )
    return any(folder in Path(place).resolve().parents for place in places for folder in _libraries())


@cache
def _libraries() -> tuple[Path, ...]:
    """The folders of Python's own modules and of those that packages are installed into."""
    named = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return tuple(
        {Path(each).resolve() for each in [*named, site.getusersitepackages(), *site.getsitepackages()]}
    )


@cache
def _offering() -> frozenset[str]:
    return frozenset(
        entry.module.partition(".")[0] for group in ENTRY_POINTS for entry in entry_points(group=group)
    )
