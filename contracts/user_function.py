"""Finds, imports and fingerprints a user's function, which a pipeline file names as ``module:function``.

Modules are looked for in the working directory, in the folders added with :func:`look_in` (that of the
pipeline file), and among the installed packages that offer functions (see :mod:`.code_origin`). Part of the
contracts: imports nothing heavy.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

from .code_origin import defining, refusal
from .errors import DataError
from .nearest import did_you_mean

_OWN = "write your own function that calls it, in a module next to the pipeline file (under another name)"
_PACKAGE = Path(__file__).resolve().parents[1]
_folders: list[Path] = []
#: The module in references of functions that exist in this program only.
LIVE = "live"
_live: dict[str, Callable[..., Any]] = {}
#: module name -> digest of its source when it was imported here, to notice an edit since.
_imported: dict[str, str] = {}


def look_in(folder: Path) -> None:
    """Look for users' modules in ``folder`` too, after the working directory. Idempotent."""
    folder = folder.resolve()
    if folder not in _folders:
        _folders.append(folder)


def is_reference(text: str) -> bool:
    """Does ``text`` have the form ``module:function``?"""
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *name.split(".")])


def load(reference: str) -> Callable[..., Any]:
    """The function (or other callable) that ``module:function`` names.

    A module that was edited after this process imported it (in a notebook) is imported again.
    Raises DataError if the reference does not have that form, if the module or the name in it does not
    exist (with the closest existing name), if the import of the module fails, if the object is not
    callable, or if it belongs to the standard library or to a package that offers no functions
    (nothing is imported then).
    """
    if reference in _live:
        return _live[reference]
    if not is_reference(reference):
        raise DataError(
            f"'{reference}' does not name a function: write module:function, as in my_rules:is_short"
        )
    module_name, _, name = reference.partition(":")
    module = _import(module_name, reference)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            callables = [n for n, value in vars(found).items() if callable(value) and not n.startswith("_")]
            raise DataError(
                f"'{reference}': module {module_name} ({module.__file__}) has no "
                f"'{name}'{did_you_mean(part, callables)}"
            )
        found = getattr(found, part)
    if not callable(found):
        raise DataError(f"'{reference}' is a {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    home, _ = defining(function)
    if (why := refusal(home)) is not None:
        raise DataError(f"'{reference}' is defined in {home}, and {why}: {_OWN}")
    return function


def source_digest(reference: str) -> str:
    """Digest (32 hex digits) of the source file that defines the function, and of its qualified name.

    The whole defining module counts, since a function may use any part of it; the modules that it
    imports do not. Raises DataError as :func:`load` does, and if the function has no Python source
    (a built-in).
    """
    if is_live(reference):
        return _live_digest(load(reference))
    home, qualified = defining(load(reference))
    module = sys.modules.get(home)
    file = _source_file(module)
    if module is None or file is None:
        raise DataError(
            f"'{reference}' has no Python source to fingerprint: wrap it in a function of your own module"
        )
    return blake2b(
        f"{module.__name__}:{qualified}\0".encode() + file.read_bytes(), digest_size=16
    ).hexdigest()


def reference_of(function: Callable[..., Any]) -> str:
    """The reference of a function: ``module:function`` if its module can be imported.

    Otherwise (in a notebook or a script, or inside another function) it is known by its name and its source
    to this program alone: see :func:`is_live`. Raises DataError if its source is not known.
    """
    home, qualified = defining(function)
    module = sys.modules.get(home)
    reference = f"{home}:{qualified}"
    if home != "__main__" and is_reference(reference) and _source_file(module) is not None:
        return reference
    name = function.__name__ if getattr(function, "__name__", "").isidentifier() else "function"
    reference = f"{LIVE}:{name}_{_live_digest(function)[:8]}"
    _live[reference] = function
    return reference


def is_live(reference: str) -> bool:
    """Whether a reference names a function of this program alone."""
    return reference.startswith(f"{LIVE}:")


def _live_digest(function: Callable[..., Any]) -> str:
    """Digest (32 hex digits) of a function's source, its defaults and the values that it captured."""
    target = inspect.unwrap(function)
    try:
        source = inspect.getsource(target)
    except (OSError, TypeError):
        raise DataError(f"{function!r} has no source that can be read: write it into a module") from None
    held = [cell.cell_contents for cell in getattr(target, "__closure__", None) or ()]
    more = repr((getattr(target, "__defaults__", None), getattr(target, "__kwdefaults__", None), held))
    return blake2b(f"{source}\0{more}".encode(), digest_size=16).hexdigest()


def _import(name: str, reference: str) -> ModuleType:
    folders = _search_path()
    # At the end of the path, so that a user's file never shadows an installed package.
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    importlib.invalidate_caches()
    if (why := refusal(name)) is not None:
        raise DataError(f"'{reference}': {why}, and its functions cannot be steps: {_OWN}")
    try:
        module = importlib.import_module(name)
        if name in _imported and _imported[name] != _digest(module):
            module = importlib.reload(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise DataError(f"'{reference}': importing {name} failed: {error}") from error
        here = [path.stem for folder in folders for path in Path(folder).glob("*.py")]
        raise DataError(
            f"'{reference}': no module named '{error.name}'{did_you_mean(error.name, here)}; "
            f"looked in {', '.join(folders) or 'no folder'} and among installed packages"
        ) from error
    except Exception as error:
        raise DataError(f"'{reference}': importing {name} failed: {type(error).__name__}: {error}") from error
    _imported[name] = _digest(module)
    return module


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Parameter (and "return") -> annotation; its text if it cannot be resolved here."""
    target = inspect.unwrap(function)
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # names imported for type checkers only
        plain = {"float": float, "int": int, "bool": bool, "str": str}
        return {name: plain.get(hint, hint) for name, hint in getattr(target, "__annotations__", {}).items()}


def takes_table(hint: object) -> bool:
    """Is the annotation an Arrow table or record batch?"""
    name = hint if isinstance(hint, str) else getattr(hint, "__name__", "")
    return name.rpartition(".")[2] in ("Table", "RecordBatch")


def _search_path() -> list[str]:
    """The folders to search, except this package's own: its subpackages must not become top-level."""
    folders = [Path(os.getcwd()).resolve(), *_folders]
    return [str(folder) for folder in dict.fromkeys(folders) if folder != _PACKAGE]


def files_of(reference: str, folders: Iterable[Path]) -> list[Path]:
    """The files below ``folders`` of the module of ``module:function`` and its parent packages.

    Imports none.
    """
    parts = reference.partition(":")[0].split(".")
    found = []
    for folder in folders:
        for number in range(1, len(parts) + 1):
            place = folder.joinpath(*parts[:number])
            found += [place.with_name(f"{place.name}.py"), place / "__init__.py", place]
    return [path for path in found if path.exists()]


def _source_file(module: ModuleType | None) -> Path | None:
    file = None if module is None else inspect.getsourcefile(module) if hasattr(module, "__file__") else None
    return Path(file) if file is not None and Path(file).is_file() else None


def _digest(module: ModuleType) -> str:
    file = _source_file(module)
    return "" if file is None else blake2b(file.read_bytes(), digest_size=16).hexdigest()
