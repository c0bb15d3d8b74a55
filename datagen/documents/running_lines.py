"""Running heads and page numbers, which stand in the middle of sentences where pages are joined."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

#: Lines that a head or a foot may have.
_LINES = 2
#: The number of a page: at the beginning or at the end of a line, also as in "7 / 30" or "7 of 30".
_NUMBER = re.compile(r"^(\d{1,5})(?![\d.:)])|(?<![\d.])(\d{1,5})(?:\s*(?:/|of)\s*\d+)?$")
#: Least pages with their number, and least share of all, for numbers to be those of pages.
_PAGES, _SHARE = 3, 0.3
#: Pages to the next one with the same head (left and right ones may have their own); least pages with it.
_NEAR, _ALIKE = (1, 2), 4


def without_running_lines(pages: Sequence[str]) -> list[str]:
    """Return the texts of the pages without the lines that run along at their top or bottom.

    These are lines with the number of their page, if the pages are numbered throughout; and lines that at
    least four pages have at this place, each with another such page next to it. The first of the latter
    stays, as it may be a heading.
    """
    lines = [page.split("\n") for page in pages]
    for place in (0, -1):
        for _ in range(_LINES):
            edges = [page[place].strip() if page else "" for page in lines]
            running = _numbered(edges) or _repeated(edges)
            for number in running:
                del lines[number][place]
    return ["\n".join(page).strip() for page in lines]


def _numbered(edges: Sequence[str]) -> set[int]:
    """The pages whose line has their number, which is their place in the file and a constant."""
    numbers = [
        {int(one or other) for one, other in _NUMBER.findall(edge)} if len(edge) <= 200 else set()
        for edge in edges
    ]
    shifts = Counter(number - page for page, found in enumerate(numbers) for number in found)
    if not shifts:
        return set()
    shift, pages = shifts.most_common(1)[0]
    if pages < max(_PAGES, _SHARE * len(edges)):
        return set()
    return {page for page, found in enumerate(numbers) if page + shift in found}


def _repeated(edges: Sequence[str]) -> set[int]:
    """The pages whose line an earlier page near them has too, of lines that are on enough pages."""
    often = {edge for edge, pages in Counter(filter(None, edges)).items() if pages >= _ALIKE}
    return {
        page
        for page, edge in enumerate(edges)
        if edge in often and any(page >= step and edges[page - step] == edge for step in _NEAR)
    }
