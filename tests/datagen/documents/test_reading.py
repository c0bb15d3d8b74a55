"""Files of each kind: their text, headings and pages, and why others give none."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from gristmill.datagen.documents.decoding import decoded
from gristmill.datagen.documents.read_file import kind_of, read
from gristmill.datagen.documents.structure import (
    Heading,
    ReadDocument,
    heading_path,
    markdown_headings,
    page_at,
)

from .files import docx, pdf

MOST = 1 << 20
PAGE = """<html><head><title>Mills &amp; more</title><style>p {}</style></head><body>
<div class="navheader"><a href="x">Next</a></div><nav>Menu</nav>
<header><h1>The mill</h1></header>
<p>It <b>grinds</b> <a href="y">grain</a>.<img src="z" alt="A picture"></p>
<div><h2>Stones<a class="headerlink" href="#s">¶</a></h2><pre># no heading
turn()</pre><ul><li>upper</li><li>lower</li></ul>
<table><tr><th>part</th></tr><tr><td>runner</td></tr></table></div>
<footer>Imprint</footer></body></html>"""


def told(tmp_path: Path, name: str, data: bytes, most: int = MOST) -> dict[str, Any]:
    path = tmp_path / name
    path.write_bytes(data)
    return read(str(path), kind_of(name), most)


def titles(said: dict[str, Any]) -> list[tuple[int, str]]:
    return [(heading["level"], heading["title"]) for heading in said["headings"]]


def test_a_page_becomes_markdown_without_navigation(tmp_path: Path) -> None:
    said = told(tmp_path, "a.html", PAGE.encode())
    assert said["title"] == "Mills & more"
    assert titles(said) == [(1, "The mill"), (2, "Stones")]
    text = said["text"]
    assert [text[heading["start"] :].splitlines()[0] for heading in said["headings"]] == [
        "# The mill",
        "## Stones",
    ]
    assert "It **grinds** grain." in text
    assert "# no heading\nturn()" in text
    assert "- upper\n- lower" in text
    assert "| runner |" in text
    assert not any(word in text for word in ("Menu", "Next", "Imprint", "¶", "picture", "p {}"))


def test_the_main_part_of_a_page(tmp_path: Path) -> None:
    page = "<body><p>Beside.</p><main><p>Within.</p></main></body>"
    assert told(tmp_path, "a.htm", page.encode())["text"] == "Within."
    two = "<body><p>Before.</p><article>One.</article><article>Two.</article></body>"
    assert told(tmp_path, "b.htm", two.encode())["text"].split() == ["Before.", "One.", "Two."]


def test_pages_and_the_outline_of_a_pdf(tmp_path: Path) -> None:
    pages = [["A mill", "1 Stones", "The stone turns."], ["It stops.", "2 Flour (fine)", "Flour is white."]]
    outline = [("Stones", 0), ("Flour (fine)", 1), ("Elsewhere", 1)]
    said = told(tmp_path, "a.pdf", pdf(pages, outline, title="On mills"))
    text = said["text"]
    assert said["title"] == "On mills"
    assert [text[start:].splitlines()[0] for start in said["pages"]] == ["A mill", "It stops."]
    places = [text[heading["start"] :].splitlines()[0] for heading in said["headings"]]
    assert places == ["1 Stones", "2 Flour (fine)", "2 Flour (fine)"], "the last is not on its page"


def test_a_word_document(tmp_path: Path) -> None:
    made = docx(
        [("Heading1", "Mills & more"), ("Normal", "Grain in."), ("Heading2", "Flour"), ("Normal", "Out.")]
    )
    said = told(tmp_path, "a.docx", made)
    assert said["text"] == "# Mills & more\n\nGrain in.\n\n## Flour\n\nOut."
    assert titles(said) == [(1, "Mills & more"), (2, "Flour")]
    assert said["title"] == "Mills & more"


def test_text_and_markdown_and_what_is_packed(tmp_path: Path) -> None:
    plain = told(tmp_path, "a.txt", b"# 1\nline\r\nline\r")
    assert (plain["text"], plain["headings"], plain["title"]) == ("# 1\nline\nline\n", (), None)
    assert told(tmp_path, "a.txt.gz", gzip.compress(b"packed", mtime=0))["text"] == "packed"
    marked = told(tmp_path, "a.md", b"intro\n\n## Low\n\n# High #\n")
    assert titles(marked) == [(2, "Low"), (1, "High")]
    assert marked["title"] == "High"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", pdf([["some text"]], locked=True), "it is encrypted: save it without a password"),
        ("a.pdf", pdf([["some text"]])[:300], "it is not a whole PDF file"),
        ("a.pdf", pdf([["1"], []]), r"no text on its 2 pages, which are probably scanned: .*\(OCR\)"),
        ("a.docx", docx([("Normal", "text")])[:300], "it is not a whole DOCX file"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1", "it is encrypted, or an old .doc file"),
        ("a.txt", b"", "the file is empty"),
        ("a.txt", b" \n\t\n", "it has no text"),
        ("a.txt", bytes(range(256)) * 9, "it is not a text"),
        ("a.html", b"<html><body><script>x()</script></body></html>", "it has no text"),
        ("a.txt", b"x" * (MOST + 1), r"it has 1\.0 MiB, more than `max_mib`: 1"),
        ("a.txt.gz", gzip.compress(b"x" * (MOST + 1)), "it unpacks to more than `max_mib`: 1"),
        ("a.txt.gz", gzip.compress(b"x" * 99, mtime=0)[:20], "it is not a whole gzip file"),
        (
            "a.docx",
            docx([("Normal", "x" * (MOST + 1))]),
            "MiB of text and styles when unpacked: set `max_mib`",
        ),
        ("a.odt", b"text", "files of this kind are not read; those that are end with .txt"),
    ],
)
def test_what_gives_no_document_says_why(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    said = told(tmp_path, name, data)
    assert "text" not in said
    assert re.search(reason, said["unreadable"]), said["unreadable"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Mühle – 10 €".encode(), "Mühle – 10 €"),
        ("Mühle – 10 €".encode("utf-8-sig"), "Mühle – 10 €"),
        ("Mühle – 10 €".encode("utf-16"), "Mühle – 10 €"),
        ("Mühle, Getreide".encode("utf-16-le"), "Mühle, Getreide"),
        ("Mühle, Getreide".encode("utf-16-be"), "Mühle, Getreide"),
        ("Mühle".encode("utf-32"), "Mühle"),
        ("Mühle – 10 €".encode("cp1252"), "Mühle – 10 €"),
        ("Mühle".encode("latin-1"), "Mühle"),
        (b"\x81 \xfc", "\x81 ü"),
    ],
)
def test_encodings(data: bytes, text: str) -> None:
    assert decoded(data) == text


def test_a_page_may_name_its_encoding() -> None:
    page = '<meta charset="iso-8859-2"><p>młyn</p>'
    assert decoded(page.encode("iso-8859-2"), declares=True) == page
    assert decoded(page.encode("iso-8859-2")) != page
    wrong = '<meta charset="nonsense"><p>młyn</p>'
    assert decoded(wrong.encode(), declares=True) == wrong


def test_headings_of_markdown_are_not_comments_of_code() -> None:
    text = "# A\n```sh\n# comment\n```\n#not\n###### [F](x) `g` ##\n~~~\n```\n# no\n~~~\n## B\n"
    found = markdown_headings(text)
    assert [(each.level, each.title) for each in found] == [(1, "A"), (6, "F g"), (2, "B")]
    assert all(text[each.start] == "#" for each in found)


def test_places_within_the_structure() -> None:
    document = ReadDocument("x" * 40, headings=[Heading(2, 1, "A"), Heading(9, 3, "B"), Heading(20, 2, "C")])
    rows = [{"start": each.start, "level": each.level, "title": each.title} for each in document.headings]
    paths = [heading_path(rows, place) for place in (0, 2, 9, 19, 20)]
    assert paths == [[], ["A"], ["A", "B"], ["A", "B"], ["A", "C"]]
    assert [page_at([0, 10, 20], place) for place in (0, 9, 10, 39)] == [1, 1, 2, 3]
    assert page_at([], 3) is None
