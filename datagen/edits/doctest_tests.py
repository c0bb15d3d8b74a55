"""Unit tests made from the docstring examples of a program. They still work if the docstring is removed."""

from __future__ import annotations

import ast
import builtins
import doctest
import re
from collections.abc import Iterator, Sequence

from ..parsers.python_source import parse_python
from ..sandbox.suites.examples import telling

_HEAD = """import doctest as _doctest


def _check(name, examples):
    said = []
    test = _doctest.DocTestParser().get_doctest(examples, dict(globals()), name, None, 0)
    result = _doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, _told(said[0])


def _told(report):
    example, raised, trace = report.split("Failed example:")[-1].partition("Exception raised:")
    end = ["raised", trace.strip().splitlines()[-1].strip()] if raised else []
    return " ".join([*example.split(), *end])
"""


def tests_from_doctests(program: str) -> str | None:
    """Return one test function per docstring of functions, classes and methods that has examples.

    Imports of the program's own names are removed from examples: they would load the installed version. A
    docstring whose examples are all skipped, or expect nothing, gives no test. Returns None if the program
    does not parse or has no examples.
    """
    try:
        tree = parse_python(program)
        own = {node.name for node in tree.body if isinstance(node, _DEFINITIONS)}
        found = list(_examples(tree, "", own))
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not found:
        return None
    tests = [
        f"def test_{name.replace('.', '_')}():\n    _check({name!r}, {text!r})\n" for name, text in found
    ]
    return "\n\n".join([_HEAD, *tests])


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _examples(node: ast.AST, prefix: str, own: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (qualified name, its examples as docstring text). Raises ValueError for malformed examples."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _DEFINITIONS):
            continue
        examples = doctest.DocTestParser().get_examples(ast.get_docstring(child) or "")
        texts = [_written(example, own) for example in examples]
        written = doctest.DocTestParser().get_examples("".join(texts))
        if any(telling(written, _asked(written))):
            yield f"{prefix}{child.name}", "".join(texts)
        if isinstance(child, ast.ClassDef):
            yield from _examples(child, f"{prefix}{child.name}.", own)


def _asked(examples: Sequence[doctest.Example]) -> set[str]:
    """Names of which each may be the program's, or of the module that it comes from."""
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(example.source for example in examples))) - set(
        vars(builtins)
    )


def _written(example: doctest.Example, own: set[str]) -> str:
    """Return the example as docstring text; empty if it only imports the program's own names."""
    source = _without_own_imports(example.source, own)
    if source is None:
        return ""
    first, *rest = source.rstrip("\n").split("\n")
    source = "\n".join([f">>> {first}", *(f"... {line}" for line in rest)])
    return f"{source}\n{example.want}"


def _without_own_imports(source: str, own: set[str]) -> str | None:
    """Remove the names in ``own`` from ``from package import a, b``; None if no name remains."""
    try:
        statements = parse_python(source).body
    except SyntaxError:
        return source  # an example of code that does not parse
    if len(statements) != 1 or not isinstance(statements[0], ast.ImportFrom):
        return source
    statement = statements[0]
    names = [alias for alias in statement.names if (alias.asname or alias.name) not in own]
    if len(names) == len(statement.names):
        return source
    return ast.unparse(ast.ImportFrom(statement.module, names, statement.level)) if names else None
