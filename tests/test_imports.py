"""Which part may import which, read from the source; and what loading the operators brings in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("datagen", "filters", "kernels", "pipelines", "trainer")
#: What every part but the kernels may import: the contracts they share.
GROUND = tuple(
    f"pipelines.{name}"
    for name in (
        "operator",
        "records",
        "inference",
        "errors",
        "frozen",
        "registry",
        "user_function",
        "secrets",
        "printable",
        "counting",
        "validation",
        "addresses",
        "code_origin",
        "spec.nearest",
    )
)
HEAVY = ("torch", "vllm", "ray", "transformers", "sentence_transformers", "datasets", "sklearn")
SPARING = (*HEAVY, "numpy", "pyarrow", "pandas", "duckdb")


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name below ``gristmill``, file) of every module of the package."""
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            names = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(names[:-1] if names[-1] == "__init__" else names), path


def imported(module: str, path: Path) -> Iterator[str]:
    """What the module imports of the package, dotted below ``gristmill``, wherever in the file."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
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
            # `from .. import operator` names modules, `from ..operator import Map` does not.
            for alias in node.names:
                inner = [*target, alias.name]
                is_module = (ROOT.joinpath(*inner).with_suffix(".py")).is_file() or ROOT.joinpath(
                    *inner
                ).is_dir()
                yield ".".join(inner if is_module else target)


def allowed(module: str, target: str) -> bool:
    part, other = module.split(".")[0], target.split(".")[0]
    if module in GROUND:
        return target in GROUND
    if part == "pipelines":
        return True
    if part == other or target == "":
        return True
    if part == "kernels":
        return False
    return target in GROUND or other == "kernels"


def test_the_rules_themselves() -> None:
    assert not allowed("filters.keep", "datagen.respond")
    assert not allowed("trainer.sft", "pipelines.store.parts")
    assert not allowed("kernels.nf4", "pipelines.operator")
    assert not allowed("pipelines.operator", "pipelines.formats")
    assert allowed("filters.keep", "pipelines.operator")
    assert allowed("trainer.sft", "kernels.nf4")
    assert not allowed(
        "pipelines.registry", "datagen.respond"
    )  # it names modules, and imports what is asked for
    found = set(imported("pipelines.weights.store", ROOT / "pipelines/weights/store.py"))
    assert {"pipelines.errors", "pipelines.weights.hub", "pipelines.weights.download"} <= found


def test_imports_run_one_way() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, path in modules()
        for target in sorted(set(imported(module, path)))
        if not allowed(module, target)
    ]
    assert wrong == []


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
from gristmill.pipelines import registry
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
