"""Writes docs/reference/*.md from the docstrings of the operators and the parsers of the command line: `make docs`."""

from __future__ import annotations

from pathlib import Path

from gristmill.pipelines.reference import commands, markdown

PLACE = Path(__file__).parent / "reference"


def made() -> dict[str, str]:
    """File name -> text of every page."""
    return {**markdown.pages(), "cli.md": commands.page()}


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    pages = made()
    for old in PLACE.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (PLACE / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(pages)} pages to {PLACE}")


if __name__ == "__main__":
    main()
