"""Imports point down only, in no circle; and what loading the operators brings in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("contracts", "datagen", "filters", "kernels", "pipelines", "trainer")
#: The packages of `pipelines`, from the top down. Each imports what lies below it, and nothing of its own
#: layer.
LAYERS = (
    ("cli",),
    ("python_api",),
    ("inspect", "doctor", "reference"),
    ("api",),
    ("report",),
    ("view",),
    ("run",),
    ("plan",),
    ("file", "sinks", "user_code"),
    ("store", "engines", "weights", "sources"),
)
#: They lie above the runner and call tools of `datagen`, `filters` and `trainer` directly: `gristmill merge`.
#: The runner and what lies below reach those three by name, through the registry.
ABOVE_THE_RUNNER = ("cli", "python_api", "inspect", "doctor")

HEAVY = ("torch", "vllm", "ray", "transformers", "sentence_transformers", "datasets", "sklearn")
SPARING = (*HEAVY, "numpy", "pyarrow", "pandas", "duckdb")


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name below ``gristmill``, file) of every module of the package."""
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            names = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(names[:-1] if names[-1] == "__init__" else names), path


def imported(module: str, path: Path, *, for_types: bool = True) -> Iterator[str]:
    """What the module imports of the package, dotted below ``gristmill``, wherever in the file.

    ``for_types``: also what it imports under ``TYPE_CHECKING``.
    """
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "gristmill":
                    yield alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                above = package[: len(package) - node.level + 1]
                target = [*above, *(node.module.split(".") if node.module else [])]
            elif node.module and node.module.split(".")[0] == "gristmill":
                target = node.module.split(".")[1:]
            else:
                continue
            # `from .. import errors` names modules, `from ..errors import DataError` does not.
            for alias in node.names:
                inner = ROOT.joinpath(*target, alias.name)
                is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
                yield ".".join([*target, alias.name] if is_module else target)


def layer_of(module: str) -> int:
    """How many layers lie above a module of ``pipelines``; for one without a layer, the number of layers."""
    name = module.split(".")[1]
    return next((number for number, names in enumerate(LAYERS) if name in names), len(LAYERS))


def allowed(module: str, target: str) -> bool:
    """Imports point down only."""
    part, other = module.split(".")[0], target.split(".")[0]
    if target == "" or target == module:
        return True
    if other == "contracts":
        return part != "kernels"
    if part in ("contracts", "kernels", "datagen", "filters"):
        return part == other
    if part == "trainer":
        return other in ("trainer", "kernels")
    package = module.split(".")[1]
    if other != "pipelines":
        return package in ABOVE_THE_RUNNER
    return package == target.split(".")[1] or layer_of(module) < layer_of(target) < len(LAYERS)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            inside = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(inside) > 1:
                found.append(sorted(inside))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def test_the_rule_itself() -> None:
    assert not allowed("filters.expressions.keep", "datagen.generate.respond")
    assert not allowed("trainer.loop", "pipelines.store.parts")
    assert not allowed("kernels.nf4", "contracts.errors")
    # It names modules, and imports what is asked for.
    assert not allowed("contracts.registry", "datagen.generate.respond")
    assert not allowed("contracts.operators", "pipelines.store.parts")
    assert not allowed("pipelines.plan.make", "pipelines.run.loop")
    assert not allowed("pipelines.store.parts", "pipelines.engines.vllm")
    assert not allowed("pipelines.run.serving", "filters.embeddings.embed_column")
    assert not allowed("pipelines.nowhere", "pipelines.store.parts")
    assert allowed("filters.expressions.keep", "contracts.operators")
    assert allowed("trainer.loop", "kernels.nf4")
    assert allowed("pipelines.cli.merge", "trainer.merging.merge")
    found = set(imported("pipelines.weights.store", ROOT / "pipelines/weights/store.py"))
    assert {"contracts.errors", "pipelines.weights.hub", "pipelines.weights.download"} <= found
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]


def test_imports_point_down_only() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, path in modules()
        for target in sorted(set(imported(module, path)))
        if not allowed(module, target)
    ]
    assert wrong == []


def test_no_modules_import_each_other() -> None:
    """In functions neither, but for types alone."""
    graph = {module: set(imported(module, path, for_types=False)) - {module} for module, path in modules()}
    assert circles(graph) == []


def test_a_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_package_imports_itself_relatively() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for _, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").split(".")[0] in ("gristmill", *PARTS)
    ]
    assert wrong == []


LOAD_EVERY_OPERATOR = """
import json, sys
from gristmill.contracts import registry
loaded = []
for names in [*registry.NAMED.values(), registry.VALUED, registry.USER_FUNCTION]:
    for target in names.values():
        registry.load(target)
        loaded.append(target)
        new = sorted(set(sys.argv[1:]) & set(sys.modules))
        if new:
            sys.exit(f"{target} brings {new}")
print(json.dumps(loaded))
"""


@pytest.mark.parametrize("names", [HEAVY, SPARING], ids=["heavy", "all"])
def test_loading_every_operator_brings_no_framework(names: tuple[str, ...]) -> None:
    """So that a plan costs milliseconds."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD_EVERY_OPERATOR, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) >= 20
