"""Unit tests from the examples in a program's docstrings, which go on to work when the docstring is gone."""

from __future__ import annotations

import ast
import doctest
import warnings
from collections.abc import Iterator

_HEAD = """import doctest as _doctest


def _check(name, examples):
    said = []
    test = _doctest.DocTestParser().get_doctest(examples, dict(globals()), name, None, 0)
    result = _doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, _told(said[0])


def _told(report):
    example, raised, trace = report.split("Failed example:")[-1].partition("Exception raised:")
    return " ".join([*example.split(), *(["raised", trace.strip().splitlines()[-1].strip()] if raised else [])])
"""


def tests_from_doctests(program: str) -> str | None:
    """Test functions, one for each docstring of functions, classes and methods that has examples.

    None where the program does not parse or has no example.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = list(_examples(ast.parse(program), ""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not found:
        return None
    tests = [
        f"def test_{name.replace('.', '_')}():\n    _check({name!r}, {text!r})\n" for name, text in found
    ]
    return "\n\n".join([_HEAD, *tests])


def _examples(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    """(qualified name, its examples as docstring text). Raises ValueError for malformed examples."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        examples = doctest.DocTestParser().get_examples(ast.get_docstring(child) or "")
        if examples:
            yield f"{prefix}{child.name}", "".join(_written(example) for example in examples)
        if isinstance(child, ast.ClassDef):
            yield from _examples(child, f"{prefix}{child.name}.")


def _written(example: doctest.Example) -> str:
    first, *rest = example.source.rstrip("\n").split("\n")
    source = "\n".join([f">>> {first}", *(f"... {line}" for line in rest)])
    return f"{source}\n{example.want}"
