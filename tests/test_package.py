"""The wheel holds the whole package and nothing else; nothing of it is importable at top level."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ("contracts", "datagen", "filters", "kernels", "pipelines", "trainer")
DATA = (".yaml", ".jinja", ".html", ".css", ".js", ".json", ".jsonl", "py.typed")


def sources(suffixes: tuple[str, ...]) -> set[str]:
    """The names, relative to the root, of the package's files that end in one of ``suffixes``."""
    found = {ROOT / "py.typed", *ROOT.glob("*.py")}
    for folder in FOLDERS:
        found |= {path for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {str(path.relative_to(ROOT)) for path in found if path.name.endswith(suffixes)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from a copy of the tree."""
    place = tmp_path_factory.mktemp("wheel")
    copy = place / "source"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "shared", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=left_out)
    command = [sys.executable, "-P", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(place), str(copy)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_every_module_is_in_the_wheel(wheel: set[str]) -> None:
    missing = {name for name in sources((".py",)) if f"gristmill/{name}" not in wheel}
    assert missing == set(), "name their packages in pyproject.toml, [tool.setuptools] packages"


def test_every_data_file_is_in_the_wheel(wheel: set[str]) -> None:
    expected = sources(DATA)
    assert {"py.typed", "pipelines/report/page.html"} <= expected
    assert any(name.startswith("pipelines/recipes/") for name in expected)
    missing = {name for name in expected if f"gristmill/{name}" not in wheel}
    assert missing == set(), "name their patterns in pyproject.toml, [tool.setuptools.package-data]"


def test_nothing_else_is_in_the_wheel(wheel: set[str]) -> None:
    ours = {f"gristmill/{name}" for name in sources((".py", *DATA))}
    others = {name for name in wheel - ours if ".dist-info/" not in name}
    assert others == set()


def test_every_folder_with_modules_is_a_package() -> None:
    by_path = Path("pipelines/recipes/seeds")  # loaded by their paths, as a user's own files are
    folders = {Path(name).parent for name in sources((".py",))} - {by_path}
    assert {folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()} == set()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_subpackage_is_not_importable_at_top_level(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A top-level ``kernels`` would stand in for the Hugging Face package that transformers probes for."""
    # Other tests put the folder of benchmarks on the path, where `filters.py` is a script.
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each) != ROOT / "benchmarks"])
    assert importlib.util.find_spec(name) is None
    assert importlib.util.find_spec(f"gristmill.{name}") is not None


def test_the_command_runs_where_a_folder_of_that_name_lies(tmp_path: Path) -> None:
    """The child processes we start must not find the modules of the directory they are started in."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('the wrong kernels was imported')")
    command = Path(sys.executable).with_name("gristmill")
    done = subprocess.run(
        [command, "doctor"], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout


def test_the_citation_names_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
