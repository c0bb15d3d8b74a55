"""Files that ship with the recipes, which pipeline files name as ``gristmill:seeds/NAME``. Part of the
contracts."""

from __future__ import annotations

from pathlib import Path

from .errors import DataError

#: ``gristmill:seeds/NAME.jsonl`` names a file that ships with the recipes, wherever they are run.
PACKAGED = "gristmill:"
RECIPES = Path(__file__).parents[1] / "pipelines" / "recipes"


def place_of(path: str) -> Path:
    """Where a path lies: among the packaged recipes after ``gristmill:``, else as written."""
    return RECIPES / path.removeprefix(PACKAGED) if path.startswith(PACKAGED) else Path(path)


def packaged_name(path: str | Path) -> str:
    """The same on every machine, because names are part of a fingerprint."""
    return PACKAGED + Path(path).relative_to(RECIPES).as_posix()


def no_such_file(path: str) -> DataError:
    """The error for a packaged file that does not exist."""
    there = ", ".join(packaged_name(file) for file in sorted(RECIPES.glob("seeds/*")) if file.is_file())
    return DataError(f"{path}: Gristmill has no such file; there are {there}")
