"""Parses pages that leave end tags out, as HTML allows: ``<li>`` ends the item before it, and so on.

Without it each such element is inside the one before, thousands deep in a long page. The rules are those of
the HTML standard for optional tags, for what is read as Markdown.
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: Elements that end an open paragraph.
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "center", "details", "dir", "div", "dl", "fieldset",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "menu", "nav",
    "ol", "p", "pre", "section", "table", "ul", "li", "dt", "dd",
))  # fmt: skip
_CELLS = frozenset({"td", "th"})
_SECTIONS = frozenset({"thead", "tbody", "tfoot"})
#: The name of a start tag -> the open elements that it ends, unless one of the second kind is nearer.
_RULES: tuple[tuple[frozenset[str], frozenset[str], frozenset[str]], ...] = (
    (frozenset({"li"}), frozenset({"li"}), frozenset({"ul", "ol", "menu", "dir"})),
    (frozenset({"dt", "dd"}), frozenset({"dt", "dd"}), frozenset({"dl"})),
    (_CELLS, _CELLS, frozenset({"tr", "table"})),
    (frozenset({"tr"}), frozenset({"tr"}), frozenset({"table"})),
    (_SECTIONS, _SECTIONS | {"caption", "colgroup"}, frozenset({"table"})),
    (frozenset({"option", "optgroup"}), frozenset({"option"}), frozenset({"select"})),
    (frozenset({"a"}), frozenset({"a"}), _CELLS | {"table"}),
    (_BLOCKS, frozenset({"p"}), _CELLS | {"table", "button", "object", "caption"}),
)


@cache
def _soup() -> type[Any]:
    from bs4 import BeautifulSoup

    class Soup(BeautifulSoup):
        def handle_starttag(self, name: str, *args: Any, **options: Any) -> Any:
            for starts, ended, kept in _RULES:
                if name in starts:
                    self._end(ended, kept)
            return super().handle_starttag(name, *args, **options)

        def _end(self, ended: frozenset[str], kept: frozenset[str]) -> None:
            for element in reversed(self.tagStack[1:]):
                if element.name in kept:
                    return
                if element.name in ended:
                    self.endData()  # the text so far belongs to it
                    while self.tagStack[-1] is not element:
                        self.popTag()
                    self.popTag()
                    return

    return Soup


def parsed(page: str) -> Any:
    """The elements of a page, a ``BeautifulSoup``."""
    return _soup()(page, "html.parser")
