"""Writes docs/reference/*.md from the docstrings, the command line and the recipes: `make docs`."""

from __future__ import annotations

from pathlib import Path

from gristmill.pipelines.cli.command_reference import command_line
from gristmill.pipelines.cli.recipe_reference import recipe_list
from gristmill.pipelines.reference.markdown import pages

PLACE = Path(__file__).parent / "reference"


def made() -> dict[str, str]:
    """File name -> text of every page."""
    return {**pages(), "cli.md": command_line(), "recipes.md": recipe_list()}


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    texts = made()
    for old in PLACE.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (PLACE / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(texts)} pages to {PLACE}")


if __name__ == "__main__":
    main()
