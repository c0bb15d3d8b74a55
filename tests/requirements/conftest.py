"""Loads the scripts in requirements/, which import each other by their bare names."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def _load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load a script by its path, since the folder in which the tests run may have the same name."""
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
