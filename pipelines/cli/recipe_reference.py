"""The packaged recipes as Markdown, from the ``about`` sections of their files."""

from __future__ import annotations

from collections.abc import Iterator

from ..file.locate import recipes
from ..reference.markdown import listed, page, paragraph
from .recipes import PARTS, about

_ABOUT = (
    "The packaged pipeline files. `gristmill run NAME` runs one, `gristmill init NAME` copies it to edit, "
    "`gristmill recipes NAME` prints it. [What was measured](../measured.md) says what some of them made."
)


def recipe_list() -> str:
    """The page of all recipes. Raises SpecError for a section that cannot be read."""
    return page(["# Recipes", paragraph(_ABOUT), *_told()])


def _told() -> Iterator[str]:
    for name, path in recipes().items():
        told = about(path)
        yield f"## {name}"
        if told is not None:
            parts = {part: getattr(told, part) for part in PARTS}
            yield listed(f"{part}: {said}" for part, said in parts.items() if said)
