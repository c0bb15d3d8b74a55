"""The text of a web page, as Markdown."""

from __future__ import annotations

import re
from typing import Any

from .decoding import decoded
from .left_out_ends import parsed
from .structure import ReadDocument, first_title, markdown_headings

#: Elements that are never content.
_NEVER = (
    "script", "style", "noscript", "template", "svg", "nav", "header", "footer", "aside", "form", "iframe",
)  # fmt: skip
#: Navigation, by what generators of pages call it. Headings within a `header` stay (below).
_NAVIGATION = re.compile(
    r"(?:^|[-_ ])(?:nav\w*|sidebar\w*|breadcrumbs?|menu|footer|headerlink|cookie\w*|sphinxsidebar|toc)"
    r"(?:$|[-_ ])",
    re.I,
)
_ROLES = {"navigation", "banner", "contentinfo", "search", "complementary"}
_HEADINGS = tuple(f"h{level}" for level in range(1, 7))
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")


def read_html(data: bytes) -> ReadDocument:
    """The content of a page: its main part, without navigation, links and images. Raises Unreadable."""
    return of_html(decoded(data, declares=True))


def of_html(page: str) -> ReadDocument:
    soup = parsed(page)
    title = soup.title.get_text() if soup.title is not None else ""
    for element in soup.find_all(True):
        if not element.decomposed and _is_navigation(element):
            element.decompose()
    content = soup.find("main") or soup.find(role="main") or _only(soup, "article") or soup.body or soup
    text = _markdown(content)
    headings = markdown_headings(text)
    return ReadDocument(text, " ".join(title.split()) or first_title(headings), headings)


def _is_navigation(element: Any) -> bool:
    name = element.name
    if name in _NEVER:
        return not (name == "header" and element.find(_HEADINGS) is not None)
    if name in ("html", "body", "main", "article", *_HEADINGS):
        return False
    if element.get("role") in _ROLES:
        return True
    names = [*(element.get("class") or ()), element.get("id") or ""]
    return any(_NAVIGATION.search(each) for each in names)


def _only(soup: Any, name: str) -> Any:
    """The only element of its kind; pages that list several articles are read whole."""
    found = soup.find_all(name, limit=2)
    return found[0] if len(found) == 1 else None


def _markdown(element: Any) -> str:
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    text = str(converter.convert_soup(element)).replace("\xa0", " ")
    return _BLANK_LINES.sub("\n\n", text).strip()
