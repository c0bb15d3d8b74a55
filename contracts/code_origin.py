"""Whose code a module is: only a user's own modules, and packages that offer functions, may serve as steps.

A pipeline file often comes from somebody else. If every function of every installed package could be a step,
one line could start programs (``subprocess:check_output``) without any module that a person can review first.
Part of the contracts.
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
    """Why functions of ``module`` cannot be steps; None if they can. Imports nothing."""
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
    except (ImportError, ValueError):  # __main__ of a notebook has no spec
        return False
    if found is None:
        return False
    places = (
        [found.origin] if found.has_location and found.origin else [*(found.submodule_search_locations or [])]
    )
    return any(folder in Path(place).resolve().parents for place in places for folder in _libraries())


@cache
def _libraries() -> tuple[Path, ...]:
    """The folders of the standard library and of installed packages."""
    named = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return tuple(
        {Path(each).resolve() for each in [*named, site.getusersitepackages(), *site.getsitepackages()]}
    )


@cache
def _offering() -> frozenset[str]:
    return frozenset(
        entry.module.partition(".")[0] for group in ENTRY_POINTS for entry in entry_points(group=group)
    )
