"""The scripts in requirements/ import each other by their bare names: they run before anything is installed."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def _load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """By its path: the folder that the tests run in may have the same name as a script."""
    spec = spec_from_file_location(name, REQUIREMENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _load("environment", monkeypatch)


@pytest.fixture
def locks(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _load("locks", monkeypatch)


@pytest.fixture
def install(locks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _load("install", monkeypatch)
