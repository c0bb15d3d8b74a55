"""Finds a pipeline file by its path, or by the name of a packaged recipe."""

from __future__ import annotations

from pathlib import Path

from ...contracts.errors import SpecError, SpecProblem
from ...contracts.nearest import did_you_mean, nearest

RECIPES = Path(__file__).parents[1] / "recipes"


def recipes() -> dict[str, Path]:
    """Name -> file of each packaged recipe."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def locate(name: str | Path) -> Path:
    """The file at a path, else the packaged recipe of that name. Raises SpecError."""
    path = Path(name)
    if path.is_file():
        return path
    packaged = recipes()
    if str(name) in packaged:
        return packaged[str(name)]
    if "://" in str(name):
        said = "is an address, and a pipeline file can run commands: download it, read it, then run the file"
    elif path.exists():
        said = "is not a file" if not path.is_dir() else "is a folder, not a pipeline file"
    else:
        beside = _beside(path)
        meant = (
            did_you_mean(str(name), [beside])
            if beside
            else did_you_mean(str(name).removesuffix(".yaml"), packaged)
        )
        said = f"there is no such file, and no recipe of that name{meant} (`gristmill recipes` lists them)"
    raise SpecError([SpecProblem(str(name), 1, 1, "", said)])


def _beside(path: Path) -> str | None:
    """The pipeline file in the same folder whose name is closest."""
    try:
        names = [each.name for each in path.parent.glob("*.y*ml")]
    except OSError:
        return None
    close = nearest(path.name, names)
    return str(path.with_name(close)) if close else None
