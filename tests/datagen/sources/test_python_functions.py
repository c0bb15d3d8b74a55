"""Functions of packages: all of them, in order, as written, with nothing imported or run."""

from __future__ import annotations

import ast
import inspect
import json as json_module
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.sources.python_functions import PythonFunctions, functions


def read(source: PythonFunctions, context: Any) -> list[dict[str, Any]]:
    return pa.Table.from_batches(list(source.read(context))).to_pylist()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "tiny_package_of_tests"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this file must not be run')\n")
    (folder / "b.py").write_text(
        textwrap.dedent('''
            class Counter:
                @property
                def value(self) -> int:
                    """The value.

                    >>> Counter().value
                    0
                    """
                    def inner():
                        return 0
                    return inner()

            async def fetch(url, *, timeout: float = 1.0):
                # waits
                return url

            def _hidden():
                x = 1
                return x

            def short(): return 1
        ''')
    )
    (folder / "inner" / "a.py").write_text("def late(x):\n\ty = x\n\treturn y\n")
    (folder / "broken.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.name


def test_functions_and_methods_in_order(package: str, context: Any) -> None:
    rows = read(PythonFunctions(package=package), context)
    assert [(row["module"], row["qualname"]) for row in rows] == [
        (f"{package}.b", "Counter.value"),
        (f"{package}.b", "fetch"),
        (f"{package}.inner.a", "late"),
    ]
    first, second, _ = rows
    assert first["source"].startswith("@property\ndef value(self) -> int:\n")
    assert first["has_doctest"] is True
    assert first["docstring"].startswith("The value.")
    assert second["signature"] == "async def fetch(url, *, timeout: float=1.0)"
    assert second["docstring"] is None
    assert second["lines"] == 3
    assert all(ast.parse(row["source"]) for row in rows)
    assert package not in sys.modules


def test_limits_choose(package: str, context: Any) -> None:
    all_of_it = read(PythonFunctions(package=package, private=True, min_lines=1), context)
    assert {row["name"] for row in all_of_it} == {"value", "fetch", "late", "_hidden", "short"}
    assert [row["name"] for row in read(PythonFunctions(package=package, rows=1), context)] == ["value"]
    assert [row["name"] for row in read(PythonFunctions(package=package, max_lines=3), context)] == [
        "fetch",
        "late",
    ]
    assert len(read(PythonFunctions(package=f"{package}.inner"), context)) == 1


def test_the_standard_library_agrees_with_inspect(context: Any) -> None:
    rows = {row["qualname"]: row for row in read(PythonFunctions(package="json", min_lines=1), context)}
    assert rows["dumps"]["source"] == inspect.getsource(json_module.dumps)
    assert rows["dumps"]["module"] == "json"
    assert rows["JSONDecoder.decode"]["module"] == "json.decoder"
    assert rows["dumps"]["docstring"] == inspect.getdoc(json_module.dumps)
    assert read(PythonFunctions(package="textwrap"), context)[0]["module"] == "textwrap"


def test_the_digest_follows_the_source(package: str, tmp_path: Path) -> None:
    source = PythonFunctions(package=package)
    before = source.content()
    assert source.content() == before
    (tmp_path / package / "b.py").write_text("def f():\n    a = 1\n    return a\n")
    assert source.content() != before


@pytest.mark.parametrize(
    ("name", "message"), [("no_such_package_here", "no Python package"), ("sys", "no Python")]
)
def test_what_has_no_source_is_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PythonFunctions(package=name).content()


def test_only_what_python_takes_for_ends_of_lines_ends_a_line() -> None:
    source = '\x0c\ndef first():\n    return "\u2028\x1c"\n\x0c\ndef second():\n    return 2\n'
    found = [each.source for each in functions(source.encode(), "m")]
    assert found == ['def first():\n    return "\u2028\x1c"\n', "def second():\n    return 2\n"]


def test_hostile_files_have_no_functions() -> None:
    for source in (b"\0", b"\xff\xfe", b"(" * 5000, b"# coding: nonsense\n", b""):
        assert list(functions(source, "m")) == []


def test_a_prelude_brings_the_names_of_the_functions_module(context: Any) -> None:
    rows = {
        row["qualname"]: row for row in read(PythonFunctions(package="statistics", prelude=True), context)
    }
    scope: dict[str, Any] = {"__name__": "row"}
    exec(rows["mean"]["prelude"] + "\n\n" + rows["mean"]["source"], scope)
    assert scope["mean"]([1, 2, 6]) == 3
    assert scope["mean"].__module__ == "row"  # the row's function, not the module's
    alone: dict[str, Any] = {}
    exec(rows["mean"]["prelude"], alone)
    assert "mean" not in alone
    assert "median" in alone
    assert "prelude" not in read(PythonFunctions(package="statistics", rows=1), context)[0]


def test_a_method_is_its_classs_own_after_its_prelude(context: Any) -> None:
    [row] = [
        r
        for r in read(PythonFunctions(package="fractions", prelude=True), context)
        if r["name"] == "limit_denominator"
    ]
    changed = row["source"].replace("if max_denominator < 1:", "return 'changed'\n    if False:")
    run = subprocess.run(
        [sys.executable, "-c", f"{row['prelude']}\n\n{changed}\nprint(Fraction(1, 3).limit_denominator(2))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "changed"
