"""Code of a repository: units of many languages with their places, read from a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.datagen.sources.code_units import LANGUAGES, language_of, units
from gristmill.datagen.sources.repository import RepositoryCode, license_of

#: language -> a file, and its (unit, name, first line, last line).
FILES: dict[str, tuple[str, list[tuple[str, str, int, int]]]] = {
    "python": (
        "import x\n# doc\n@dec\ndef f(a):\n    def inner():\n        pass\n    return 1\n\n"
        "class A:\n    def g(self):\n        pass\n",
        [("function", "f", 2, 7), ("class", "A", 9, 11), ("function", "g", 10, 11)],
    ),
    "javascript": (
        "function f(a) {\n  return 1\n}\nconst h = (x) => {\n  return x\n}\nclass A { g() { return 2 } }\n",
        [("function", "f", 1, 3), ("function", "h", 4, 6), ("class", "A", 7, 7), ("function", "g", 7, 7)],
    ),
    "typescript": (
        "// doc\nexport function f(a: number): number { return 1 }\ninterface I { x: number }\n",
        [("function", "f", 1, 2), ("class", "I", 3, 3)],
    ),
    "java": (
        "class A {\n  /** doc */\n  int g() { return 2; }\n  A() { }\n}\n",
        [("class", "A", 1, 5), ("function", "g", 2, 3), ("function", "A", 4, 4)],
    ),
    "c": (
        "/* d */\nint f(int a) { return 1; }\nstruct s { int a; };\n"
        "static char *g(void) { struct s p; return 0; }\n",
        [("function", "f", 1, 2), ("class", "s", 3, 3), ("function", "g", 4, 4)],
    ),
    "cpp": ("template <class T>\nT f(T a) { return a; }\nint A::h() { return 1; }\n", [
        ("function", "f", 1, 2), ("function", "A::h", 3, 3),
    ]),
    "go": (
        "package p\n\n// F doc\nfunc F(a int) int {\n\treturn 1\n}\n\n"
        "type S struct{ a int }\n\nfunc (s *S) M() {}\n",
        [("function", "F", 3, 6), ("class", "S", 8, 8), ("function", "M", 10, 10)],
    ),
    "rust": (
        "/// doc\n#[inline]\npub fn f(a: i32) -> i32 { a }\nstruct S { a: i32 }\n",
        [("function", "f", 1, 3), ("class", "S", 4, 4)],
    ),
    "ruby": ("# doc\ndef f(a)\n  1\nend\n", [("function", "f", 1, 4)]),
    "php": ("<?php\nfunction f($a) { return 1; }\n", [("function", "f", 2, 2)]),
    "bash": ("f() {\n  echo 1\n}\n", [("function", "f", 1, 3)]),
    "r": ("# doc\nf <- function(a) {\n  1\n}\n", [("function", "f", 1, 4)]),
    "perl": ("sub f { return 1; }\n", [("function", "f", 1, 1)]),
    "kotlin": ("fun f(a: Int): Int { return 1 }\n", [("function", "f", 1, 1)]),
    "ocaml": ("let f a = a + 1\n", [("function", "f", 1, 1)]),
}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    named = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *named, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def rows(source: RepositoryCode, context: Any) -> list[dict[str, Any]]:
    return pa.Table.from_batches(list(source.read(context))).to_pylist()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    files = {
        "src/a.go": FILES["go"][0],
        "src/b.py": FILES["python"][0],
        "lib/LICENSE-MIT.txt": "MIT",
        "lib/deep/c.rs": FILES["rust"][0],
        "COPYING": "GPL",
        "notes.txt": "no code",
        "broken.py": "def broken(:\n    pass\n\n\ndef whole():\n    x = 1\n    return x\n",
        "big.js": "function f() {\n}\n" * 50_000,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "latin.py").write_bytes("def f():\n    x = 'ä'\n    return x\n".encode("latin-1"))
    (folder / "link.py").symlink_to("src/b.py")
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "all")
    return folder


@pytest.mark.parametrize("language", FILES)
def test_definitions_of_each_language_and_their_lines(language: str) -> None:
    source, expected = FILES[language]
    found = list(units(source, language, ("function", "class"), 100))
    assert [(unit.kind, unit.name, unit.start, unit.stop) for unit in found] == expected
    assert [unit.kind for unit in units(source, language, ("function",), 100)] == [
        kind for kind, *_ in expected if kind == "function"
    ]


def test_every_language_has_a_parser() -> None:
    assert all(list(units("", language, ("function",), 9)) == [] for language in LANGUAGES)
    assert [language_of(name) for name in ("a.tsx", "b.H", "c/d.h", "e", "f.R")] == [
        "tsx",
        None,
        "c",
        None,
        "r",
    ]


def test_blocks_hold_whole_statements() -> None:
    source = "CREATE TABLE t (\n  a INT\n);\n\nSELECT 1;\n\nSELECT 2;\n"
    spans = [(unit.start, unit.stop) for unit in units(source, "sql", ("block",), 5)]
    assert spans == [(1, 5), (7, 7)]
    assert [unit.source for unit in units(source, "sql", ("block",), 2)] == ["SELECT 1;\n", "SELECT 2;\n"]


def test_methods_are_dedented_and_what_has_errors_is_left_out(repository: Path, context: Any) -> None:
    made = rows(RepositoryCode(path=str(repository), min_lines=2, units=("function", "class")), context)
    places = [(row["path"], row["name"], row["start_line"], row["stop_line"]) for row in made]
    assert places == [
        ("broken.py", "whole", 5, 7),
        ("lib/deep/c.rs", "f", 1, 3),
        ("src/a.go", "F", 3, 6),
        ("src/b.py", "f", 2, 7),
        ("src/b.py", "A", 9, 11),
        ("src/b.py", "g", 10, 11),
    ]
    assert made[-1]["source"] == "def g(self):\n    pass\n"
    assert made[1]["source"].startswith("/// doc\n#[inline]\n")
    assert {row["commit"] for row in made} == {git(repository, "rev-parse", "HEAD")}
    assert [row["license"] for row in made] == ["COPYING", "lib/LICENSE-MIT.txt", *["COPYING"] * 4]
    assert license_of("a/b.py", {"b": "b/LICENSE"}) is None


def test_the_commit_is_read_and_not_the_folder(repository: Path, context: Any) -> None:
    source = RepositoryCode(path=str(repository), languages=("go", "rust"))
    before, content = rows(source, context), source.content()
    (repository / "src/a.go").write_text("package p\n")
    assert (rows(source, context), source.content()) == (before, content)
    git(repository, "commit", "-qam", "less")
    assert source.content() != content
    assert [row["language"] for row in rows(source, context)] == ["rust"]
    earlier = RepositoryCode(path=str(repository), languages=("go",), rev="HEAD~1")
    assert [row["name"] for row in rows(earlier, context)] == ["F"]


def test_what_is_chosen(repository: Path, context: Any) -> None:
    some = RepositoryCode(path=str(repository), exclude=("src/*", "broken*"))
    assert [row["path"] for row in rows(some, context)] == ["lib/deep/c.rs"]
    assert len(rows(RepositoryCode(path=str(repository), rows=2), context)) == 2
    assert [row["lines"] for row in rows(RepositoryCode(path=str(repository), max_lines=3), context)] == [
        3,
        3,
    ]
    assert list(RepositoryCode(path=()).read(context)) == []


def test_the_number_of_languages_is_known_before_it_is_read(repository: Path) -> None:
    assert RepositoryCode(path=str(repository)).distinct_values() == {"language": 3, "path": 5}
    assert RepositoryCode(path=()).distinct_values() == {"language": 0, "path": 0}


def test_mistakes_are_told(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ValidationError, match=r"unknown language.*rust"):
        RepositoryCode(path=".", languages=("rusty",))
    with pytest.raises(DataError, match="no such folder"):
        RepositoryCode(path=str(tmp_path / "none")).content()
    with pytest.raises(DataError, match="no revision 'v9'"):
        RepositoryCode(path=str(repository), rev="v9").content()
