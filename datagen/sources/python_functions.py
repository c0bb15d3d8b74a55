"""``source: python_functions``: the functions of an installed Python package, parsed but never run."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from ...contracts.errors import DataError
from ...contracts.operators import Estimate, Source
from ..parsers.python_source import parse_python

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_BATCH_ROWS = 2048
_PRELUDE = """from __future__ import annotations
from importlib import import_module as _module

globals().update({{
    name: value for name, value in vars(_module("{module}")).items() if not name.startswith("__")
}})
"""
#: The module's own function would replace a missing one.
_FUNCTION = """globals().pop("{name}", None)
"""
#: A class of the module calls the row's function instead of its own method.
_METHOD = """_module("{module}").{owner}.{name} = lambda *args, **named: globals()["{name}"](*args, **named)
"""


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A row of the source.

    ``source`` includes decorators and is dedented; ``lines`` is its number of lines; ``signature`` is one
    line without the colon.
    """

    name: str
    qualname: str
    module: str
    source: str
    docstring: str | None
    signature: str
    lines: int
    has_doctest: bool


class PythonFunctions(Source):
    """Reads the functions and methods of an installed Python package, in the order of modules and lines.

    They are found by parsing source files: nothing is imported or run. Nested functions stay part of the
    enclosing function. Files that this Python version cannot parse are skipped.

    Adds:
        name (text): the function's name.
        qualname (text): the qualified name, with its class.
        module (text): dotted name of its module.
        source (text): its code with decorators, dedented.
        docstring (text): its docstring; null if it has none.
        signature (text): its first line without the colon.
        lines (int64): number of lines.
        has_doctest (bool): whether its docstring has examples.
        prelude (text): code that brings the names of its module into scope, with `prelude: true`.

    Example:
        functions: {source: python_functions, package: statistics, min_lines: 5, max_lines: 60}
    """

    package: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    """Installed package or module to read, by its dotted name."""
    min_lines: PositiveInt = 3
    """Shortest function to take, in lines."""
    max_lines: PositiveInt = 200
    """Longest function to take, in lines."""
    rows: PositiveInt | None = None
    """Maximum number of functions to read. By default all are read."""
    private: bool = False
    """Also take functions whose names start with an underscore."""
    prelude: bool = False
    """Add the column `prelude`: code that imports the names of the function's module and attaches a method to
    its class, so that the function runs wherever the package is installed. Pass its name to `generate: bugs`
    and the verifiers."""

    def content(self) -> Mapping[str, str]:
        hasher = blake2b(digest_size=16)
        for module, file in source_files(self.package):
            hasher.update(f"{module}\0".encode() + file.read_bytes() + b"\0")
        return {f"package {self.package}": hasher.hexdigest()}

    def estimate(self, rows: int) -> Estimate:
        """Estimate one function of fitting length per 30 lines, until the files are read."""
        size = sum(file.stat().st_size for _, file in source_files(self.package))
        about = max(1, size // 1200)
        return Estimate(rows=about if self.rows is None else min(about, self.rows))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str]:
        return list(self.makes_types({}))

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        texts = ("name", "qualname", "module", "source", "docstring", "signature")
        others = {"lines": pa.int64(), "has_doctest": pa.bool_()}
        prelude = {"prelude": pa.string()} if self.prelude else {}
        return {**dict.fromkeys(texts, pa.string()), **others, **prelude}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema(self.makes_types({}))
        held: list[dict[str, Any]] = []
        for number, function in enumerate(self._functions(context)):
            if number == self.rows:
                break
            held.append({**asdict(function), **({"prelude": prelude(function)} if self.prelude else {})})
            if len(held) == _BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(held, schema=schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema=schema)

    def _functions(self, context: Context) -> Iterator[PythonFunction]:
        for module, file in source_files(self.package):
            context.check()
            for function in functions(file.read_bytes(), module):
                named = self.private or not function.name.startswith("_")
                if named and self.min_lines <= function.lines <= self.max_lines:
                    yield function


def prelude(function: PythonFunction) -> str:
    """Return code that makes a module and a class use the function's own source.

    The function's source runs after it, taken out of its class.
    """
    owner, _, name = function.qualname.rpartition(".")
    own = _METHOD if owner else _FUNCTION
    return (_PRELUDE + own).format(module=function.module, owner=owner, name=name)


def source_files(package: str) -> list[tuple[str, Path]]:
    """Return (module, file) of every module of a package that has Python source, sorted by module.

    Raises DataError if the package is not installed or has no Python source.
    """
    from importlib.machinery import PathFinder

    path: list[str] | None = None
    spec = None
    parts = package.split(".")
    for depth in range(1, len(parts) + 1):
        # Searched one name at a time: importlib.util.find_spec would import the parents.
        spec = PathFinder.find_spec(parts[depth - 1], path)
        if spec is None:
            raise DataError(
                f"python_functions: no Python package {'.'.join(parts[:depth])!r} is installed here "
                "(a name as "
                "in `import`, which may differ from the name in `pip install`)"
            )
        path = list(spec.submodule_search_locations or [])
    assert spec is not None
    if not path:
        files = [(package, Path(spec.origin or ""))]
    else:
        files = [
            (_module(package, Path(root), file), file) for root in path for file in Path(root).rglob("*.py")
        ]
    found = sorted(((name, file) for name, file in files if file.suffix == ".py" and file.is_file()), key=str)
    if not found:
        raise DataError(f"python_functions: {package!r} has no Python source (it is compiled)")
    return found


def _module(package: str, root: Path, file: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([package, *parts])


def functions(source: bytes, module: str) -> Iterator[PythonFunction]:
    """Yield the functions and methods of one file, in line order; none if it does not parse."""
    try:
        tree = parse_python(source)
        text = _decoded(source)
    except (SyntaxError, UnicodeDecodeError):
        return
    lines = StringIO(text).readlines()  # as Python counts them: a form feed ends none
    yield from _within(tree, "", lines, module)


def _decoded(source: bytes) -> str:
    from importlib.util import decode_source

    return decode_source(source)


def _within(
    node: ast.Module | ast.ClassDef, prefix: str, lines: list[str], module: str
) -> Iterator[PythonFunction]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _within(child, f"{prefix}{child.name}.", lines, module)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield _function(child, prefix, lines, module)


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str, lines: list[str], module: str
) -> PythonFunction:
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    source = textwrap.dedent("".join(lines[start - 1 : node.end_lineno])).rstrip() + "\n"
    docstring = ast.get_docstring(node)
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return PythonFunction(
        name=node.name,
        qualname=f"{prefix}{node.name}",
        module=module,
        source=source,
        docstring=docstring,
        signature=f"{kind} {node.name}({ast.unparse(node.args)}){returns}",
        lines=source.count("\n"),
        has_doctest=docstring is not None and ">>>" in docstring,
    )
