"""The text of a Word document (DOCX), as Markdown."""

from __future__ import annotations

import io
import zipfile
from xml.etree.ElementTree import ParseError

from .html_text import of_html
from .structure import ReadDocument, Unreadable

#: The first bytes of Microsoft's older container: `.doc` files, and encrypted ones of any kind.
_OLD = b"\xd0\xcf\x11\xe0"
_MAIN = "word/document.xml"


def read_word(data: bytes, most_bytes: int) -> ReadDocument:
    """The text of a DOCX file with its headings, lists and tables, without images. Raises Unreadable.

    ``most_bytes``: of its unpacked parts.
    """
    import mammoth

    if data.startswith(_OLD):
        raise Unreadable("it is encrypted, or an old .doc file: save it as .docx without a password")
    try:
        _check_size(data, most_bytes)
        page = mammoth.convert_to_html(
            io.BytesIO(data), convert_image=mammoth.images.img_element(lambda image: {"src": ""})
        ).value
    except (zipfile.BadZipFile, ParseError, KeyError, OSError, EOFError, NotImplementedError) as error:
        raise Unreadable(f"it is not a whole DOCX file ({error}): save it again") from error
    return of_html(page)


def _check_size(data: bytes, most_bytes: int) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(part.file_size for part in packed.infolist() if part.filename.endswith((".xml", ".rels")))
        if _MAIN not in packed.namelist():
            raise Unreadable(f"it is not a Word document: it has no {_MAIN}")
    if size > most_bytes:
        raise Unreadable(f"it has {size / 2**20:,.0f} MiB of text and styles when unpacked: set `max_mib`")
