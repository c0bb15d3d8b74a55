"""Reads a file into a document, in a process that may be ended (``execution/limited_processes.py``)."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .decoding import decoded
from .html_text import read_html
from .pdf_text import read_pdf
from .structure import ReadDocument, Unreadable, first_title, markdown_headings
from .word_text import read_word

#: kind -> the endings of its files.
KINDS: dict[str, tuple[str, ...]] = {
    "text": (".txt", ".text"),
    "markdown": (".md", ".markdown"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
}
#: Kinds whose text is Markdown.
MARKDOWN = frozenset({"markdown", "html", "docx"})
PACKED = ".gz"


def kind_of(name: str) -> str | None:
    """The kind of a file, by its ending; None for one that cannot be read."""
    ending = Path(name.lower().removesuffix(PACKED)).suffix
    return next((kind for kind, endings in KINDS.items() if ending in endings), None)


def read(path: str, kind: str | None, most_bytes: int) -> dict[str, Any]:
    """Read a file. Returns JSON: ``digest``, and a document's fields or ``unreadable``, why there is none.

    ``most_bytes``: of the file, and of what it unpacks to.
    """
    told: dict[str, Any] = {"digest": ""}
    try:
        data = _data(path, most_bytes)
        told["digest"] = blake2b(data, digest_size=16).hexdigest()
        document = _document(data, kind, most_bytes)
        if not document.text.strip():
            raise Unreadable("it has no text")
        return told | asdict(document)
    except Unreadable as error:
        return told | {"unreadable": str(error)}
    except OSError as error:
        return told | {"unreadable": f"it cannot be read: {error.strerror or error}"}
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the libraries raise anything when a file is damaged
        return told | {"unreadable": f"it cannot be read ({type(error).__name__}: {error}): is it damaged?"}


def _data(path: str, most_bytes: int) -> bytes:
    file = Path(path)
    size = file.stat().st_size
    if size > most_bytes:
        raise Unreadable(f"it has {size / 2**20:,.1f} MiB, more than `max_mib`: {most_bytes / 2**20:,.0f}")
    if not size:
        raise Unreadable("the file is empty")
    if not path.lower().endswith(PACKED):
        return file.read_bytes()
    try:
        with gzip.open(file) as stream:
            data = stream.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"it is not a whole gzip file ({error}): make or fetch it again") from error
    if len(data) > most_bytes:
        raise Unreadable(f"it unpacks to more than `max_mib`: {most_bytes / 2**20:,.0f}")
    return data


def _document(data: bytes, kind: str | None, most_bytes: int) -> ReadDocument:
    match kind:
        case "text":
            return ReadDocument(decoded(data))
        case "markdown":
            text = decoded(data)
            headings = markdown_headings(text)
            return ReadDocument(text, first_title(headings), headings)
        case "html":
            return read_html(data)
        case "pdf":
            return read_pdf(data)
        case "docx":
            return read_word(data, most_bytes)
    endings = ", ".join(ending for each in KINDS.values() for ending in each)
    raise Unreadable(
        f"files of this kind are not read; those that are end with {endings}, or with .gz after it"
    )
