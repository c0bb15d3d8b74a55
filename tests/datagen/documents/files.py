"""Writes PDF and Word files for tests, as small as they can be."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

#: An encryption dictionary that no password opens.
LOCKED = "/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <{0}> /U <{0}> >> /ID [<00> <00>]"


def pdf(
    pages: Sequence[Sequence[str]],
    outline: Sequence[tuple[str, int]] = (),
    *,
    title: str = "",
    locked: bool = False,
) -> bytes:
    """A PDF with lines of text on its pages. ``outline``: (title, page from 0), all of one level."""
    first_page, first_entry = 5, 5 + 2 * len(pages)
    kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
    last = first_entry + len(outline) - 1
    objects = [
        "<< /Type /Catalog /Pages 2 0 R" + (" /Outlines 4 0 R" if outline else "") + " >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /First {first_entry} 0 R /Last {last} 0 R /Count {len(outline)} >>",
    ]
    for number, lines in enumerate(pages):
        drawn = "".join(f"({_escaped(line)}) Tj 0 -14 Td " for line in lines)
        stream = f"BT /F1 12 Tf 60 760 Td {drawn} ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {first_page + 2 * number + 1} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    for number, (entry, page) in enumerate(outline):
        following = f" /Next {first_entry + number + 1} 0 R" if number + 1 < len(outline) else ""
        objects.append(
            f"<< /Title ({_escaped(entry)}) /Parent 4 0 R{following} "
            f"/Dest [{first_page + 2 * page} 0 R /XYZ 60 760 0] >>"
        )
    objects.append(f"<< /Title ({_escaped(title)}) >>")
    made, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{text}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size, encrypted = len(objects) + 1, LOCKED.format("61" * 32) if locked else ""
    trailer = f"<< /Size {size} /Root 1 0 R /Info {len(objects)} 0 R {encrypted} >>"
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n{trailer}\nstartxref\n{len(made)}\n%%EOF\n"
    return made + tail.encode("latin-1")


def docx(paragraphs: Sequence[tuple[str, str]]) -> bytes:
    """A Word document of (style, text), such as ("Heading1", "Title") and ("Normal", "Text.")."""
    name = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>'
        for style, text in paragraphs
    )
    packages = "http://schemas.openxmlformats.org/package/2006"
    main = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{packages}/content-types">'
        f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{packages}/relationships">'
        f'<Relationship Id="r1" Type="{main}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{name}"><w:body>{body}</w:body></w:document>',
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for part, text in parts.items():
            packed.writestr(part, text)
    return made.getvalue()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
