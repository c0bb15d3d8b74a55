"""The text of a PDF, page by page, with the headings of its outline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .running_lines import without_running_lines
from .structure import Heading, ReadDocument, Unreadable, first_title

#: What PDFium writes for a hyphen at the end of a line, whose break it removes.
_HYPHEN = re.compile("[\x02\ufffe]\\s*")
_PAGE = "\n\n"
#: Fewer visible characters per page, on average, are no text but a scan's stamps and page numbers.
_LEAST_PER_PAGE = 4


def read_pdf(data: bytes) -> ReadDocument:
    """The text of the pages, in the order of the file. Raises Unreadable."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise Unreadable("it is encrypted: save it without a password") from error
        raise Unreadable(f"it is not a whole PDF file ({error}): make or fetch it again") from error
    texts = without_running_lines([_page_text(page) for page in _pages(document)])
    visible = sum(len("".join(text.split())) for text in texts)
    if visible < _LEAST_PER_PAGE * len(texts):
        raise Unreadable(
            f"it has no text on its {len(texts)} pages, which are probably scanned: recognize it (OCR)"
        )
    starts = [0]
    for text in texts[:-1]:
        starts.append(starts[-1] + len(text) + len(_PAGE))
    headings = list(_headings(_outline(document), texts, starts))
    title = " ".join(document.get_metadata_dict().get("Title", "").split())
    return ReadDocument(_PAGE.join(texts), title or first_title(headings), headings, starts)


def _pages(document: Any) -> Iterator[Any]:
    import pypdfium2

    for number in range(len(document)):
        try:
            yield document[number]
        except pypdfium2.PdfiumError as error:
            raise Unreadable(f"its page {number + 1} is damaged ({error}): make or fetch it again") from error


def _page_text(page: Any) -> str:
    text = page.get_textpage().get_text_bounded()
    return _HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ").strip()


def _outline(document: Any) -> Iterator[tuple[int, str, int]]:
    """(level from 1, title, page from 0) of each entry that leads to a page."""
    for entry in document.get_toc():
        target = entry.get_dest()
        page = target.get_index() if target is not None else None
        title = " ".join(entry.get_title().split())
        if page is not None and title:
            yield entry.level + 1, title, page


def _headings(
    outline: Iterator[tuple[int, str, int]], texts: Sequence[str], starts: Sequence[int]
) -> Iterator[Heading]:
    """The entries at the line that they name on their page, else at its beginning, in the order of the
    text."""
    last = 0
    for level, title, page in outline:
        if not 0 <= page < len(texts):
            continue
        words = r"\s+".join(map(re.escape, title.split()))
        after = max(0, last - starts[page])
        found = re.compile(rf"^[^\n]{{0,16}}?{words}", re.M | re.I).search(texts[page], after)
        place = max(last, starts[page] + (found.start() if found else 0))
        yield Heading(place, level, title)
        last = place
