"""Documents of a folder: one row each, and a bad file costs its own row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError, MissingPackage
from gristmill.contracts.operators import FAILURE
from gristmill.datagen.documents import read_file
from gristmill.datagen.sources import documents
from gristmill.datagen.sources.documents import Documents, found

from ..documents.files import docx, pdf


def rows(source: Documents, context: Any) -> list[dict[str, Any]]:
    return pa.Table.from_batches(list(source.read(context))).to_pylist()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {
        "docs/a.md": b"# Mills\n\nThey grind.\n",
        "docs/b.txt": "Die Mühle".encode("latin-1"),
        "docs/inner/c.pdf": pdf([["The stone", "turns."], ["It stops."]], [("It stops", 1)]),
        "docs/inner/d.docx": docx([("Heading1", "Flour"), ("Normal", "White.")]),
        "docs/inner/e.html": b"<title>E</title><p>Grain.</p>",
        "docs/f.pdf": pdf([["secret"]], locked=True),
        "docs/g.png": b"\x89PNG",
        "docs/.git/h.txt": b"hidden",
        "docs/.i.txt": b"hidden",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def test_each_document_is_a_row_in_the_order_of_names(folder: Path, context: Any) -> None:
    made = rows(Documents(path="docs"), context)
    names = [
        "docs/a.md",
        "docs/b.txt",
        "docs/f.pdf",
        "docs/inner/c.pdf",
        "docs/inner/d.docx",
        "docs/inner/e.html",
    ]
    assert [row["path"] for row in made] == names
    by_name = {Path(row["path"]).name: row for row in made}
    assert by_name["b.txt"]["text"] == "Die Mühle"
    assert by_name["a.md"]["headings"] == [{"start": 0, "level": 1, "title": "Mills"}]
    assert by_name["a.md"]["pages"] is None
    assert by_name["c.pdf"]["pages"] == [0, 18]
    assert by_name["e.html"]["title"] == "E"
    assert [row["kind"] for row in made] == ["markdown", "text", "pdf", "pdf", "docx", "html"]
    failed = by_name["f.pdf"]
    assert failed[FAILURE] == "docs/f.pdf: it is encrypted: save it without a password"
    assert failed["text"] is None
    assert [row[FAILURE] for row in made if row is not failed] == [None] * 5


def test_processes_that_started_elsewhere_read_the_same_file(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Documents(path="docs/b.txt")
    assert [row["text"] for row in rows(source, context)] == ["Die Mühle"]
    other = folder / "other" / "docs"
    other.mkdir(parents=True)
    (other / "b.txt").write_text("Der Müller")
    monkeypatch.chdir(folder / "other")
    assert [row["text"] for row in rows(source, context)] == ["Der Müller"]


def test_an_id_is_of_path_and_content(folder: Path, context: Any) -> None:
    (folder / "docs/copy.md").write_bytes((folder / "docs/a.md").read_bytes())
    source = Documents(path="docs/*.md")
    first = {row["path"]: row["document"] for row in rows(source, context)}
    assert len(set(first.values())) == 2
    before = source.content()
    (folder / "docs/a.md").write_text("# Mills\n\nThey ground.\n")
    second = {row["path"]: row["document"] for row in rows(source, context)}
    assert second["docs/copy.md"] == first["docs/copy.md"]
    assert second["docs/a.md"] != first["docs/a.md"]
    assert source.content() != before


def test_a_file_beyond_its_limits_costs_its_row(folder: Path, context: Any) -> None:
    (folder / "docs/huge.txt").write_bytes(b"x" * (2 << 20))
    (folder / "docs/slow.html").write_text("<p>a</p>" * 120_000)
    (folder / "docs/deep.html").write_text("<b>" * 2000 + "text")
    files = [f"docs/{name}" for name in ("huge.txt", "deep.html", "b.txt")]
    huge, deep, fine = rows(Documents(path=files, max_mib=1), context)
    assert "more than `max_mib`: 1" in huge[FAILURE]
    assert deep[FAILURE] == "docs/deep.html: it is nested too deeply"
    assert fine["text"] == "Die Mühle"
    # Apart, as a slow machine needs more than a second for the others as well.
    slow, fine = rows(Documents(path=["docs/slow.html", "docs/b.txt"], seconds=1), context)
    assert slow[FAILURE] == "docs/slow.html: it takes longer than 1 s"
    assert fine["text"] == "Die Mühle"


def test_named_files_globs_and_lists(folder: Path, context: Any) -> None:
    assert [row["path"] for row in rows(Documents(path="docs/**/*.pdf"), context)] == [
        "docs/f.pdf",
        "docs/inner/c.pdf",
    ]
    twice = Documents(path=["docs/a.md", "docs/*.md"])
    assert twice.files() == ["docs/a.md"]
    assert Documents(path="docs", rows=2).files() == ["docs/a.md", "docs/b.txt"]
    [row] = rows(Documents(path="docs/g.png"), context)
    assert "files of this kind are not read" in row[FAILURE]
    empty = Documents(path=[])
    assert [batch.num_rows for batch in empty.read(context)] == [0]
    (folder / "empty").mkdir()
    for wrong in ("nowhere", "docs/*.odt", "empty"):
        with pytest.raises(DataError, match=r"no documents there \(a file, a folder or a glob"):
            found(wrong)


def test_a_name_that_is_no_text(folder: Path, context: Any) -> None:
    (folder / "odd").mkdir()
    Path(os.fsdecode(b"odd/\xff.txt")).write_text("fine")
    [row] = rows(Documents(path="odd"), context)
    assert (row["path"], row["text"]) == ("odd/?.txt", "fine")


def test_a_missing_package_is_told_when_planning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "find_spec", lambda module: None)
    Documents(path="docs/*.txt").inspect()
    with pytest.raises(
        MissingPackage, match=r"html files needs the package markdownify.*gristmill\[documents\]"
    ):
        Documents(path="docs").inspect()


def test_anything_that_a_library_raises_is_the_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(read_file, "read_pdf", broken)
    said = read_file.read("docs/f.pdf", "pdf", 1 << 20)
    assert said["unreadable"] == "it cannot be read (ZeroDivisionError: odd): is it damaged?"
