"""Checks that every row of docs/catalogue.md names what runs its method, and a test of it, and that both are
there; and that each method of docs/methods.txt has a row under this name.

Run by ``make lint``: python docs/check_catalogue.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CATALOGUE = Path("docs/catalogue.md")
#: The methods that this project sets out to make runnable, one name a line.
METHODS = Path("docs/methods.txt")
HEADER = ["method", "what runs it", "test of the mechanism", "reported by its authors"]
#: A file in a code span: a path below the root, or a packaged recipe by its file's name alone.
FILE = re.compile(r"[\w./-]+\.(?:py|yaml|jinja|md|jsonl)")
RECIPES = "pipelines/recipes"
#: How a row takes the test of the row, or of the paragraph, before it.
SAME = re.compile(r"\bthe (?:same|recipe's test)\b")


def problems(text: str, root: Path) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of each row of the catalogue's tables; files are looked for below ``root``."""
    test, header = False, False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            test = False
        if not line.startswith("|"):
            header = False
            test |= any(name.startswith("tests/") for name in files(line))
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not header:
            header = True
            if cells != HEADER:
                yield number, f"the columns are {', '.join(cells)}, not {', '.join(HEADER)}"
            continue
        if set(line) <= set("|-: "):
            continue
        if len(cells) != len(HEADER):
            yield number, f"{len(cells)} cells in a row of {len(HEADER)}: a | inside a cell is written \\|"
            continue
        method, runs, tested, _ = cells
        if "**" not in method:
            yield number, f"the method is not named in bold: {method[:60]}"
        if "`" not in runs:
            yield number, f"names nothing that runs it: {runs[:60]}"
        named = [name for name in files(tested) if name.startswith("tests/")]
        test = bool(named) or (test and SAME.search(tested) is not None)
        if not test:
            yield number, f"names no test: {tested[:60]}"
        for name in files(line):
            place = root / name if "/" in name else root / RECIPES / name
            if not place.is_file():
                yield number, f"there is no file {place.relative_to(root)}"


def files(text: str) -> list[str]:
    """The files that code spans name; those of a user, in capitals, are none of ours."""
    spans = re.findall(r"`([^`]+)`", text)
    return [name for span in spans for name in FILE.findall(span) if not name.partition(".")[0].isupper()]


def unnamed(names: Iterable[str], text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of each name that no row of a table in ``text`` has in its first column."""
    rows = [line.strip("|").partition(" | ")[0] for line in text.splitlines() if line.startswith("|")]
    methods = "\n".join(rows).replace("**", "").casefold()
    for number, name in enumerate(names, 1):
        if not re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", methods):
            yield number, f"no row of {CATALOGUE} is named {name}"


def main() -> int:
    """Print each problem with its line; 1 where there is one."""
    catalogue, methods = ((ROOT / path).read_text(encoding="utf-8") for path in (CATALOGUE, METHODS))
    found = [(CATALOGUE, *each) for each in problems(catalogue, ROOT)]
    found += [(METHODS, *each) for each in unnamed(methods.splitlines(), catalogue)]
    for path, number, told in found:
        print(f"{path}:{number}: {told}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
