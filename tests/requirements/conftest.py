"""The scripts in requirements/ import each other by their bare names: they run before anything is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REQUIREMENTS))
    return importlib.import_module("environment")


@pytest.fixture
def locks(environment: ModuleType) -> ModuleType:
    return importlib.import_module("locks")


@pytest.fixture
def install(locks: ModuleType) -> ModuleType:
    return importlib.import_module("install")
