"""Fixtures shared by the tests of the sandbox."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gristmill.datagen.sandbox import launching

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that the user of runs can read. Root's runs belong to nobody, who cannot read root's home."""
    if not AS_ROOT or _readable_by_all(launching.interpreter()[0]):
        return
    system = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if system is None:
        pytest.skip("nobody can read this Python, and there is no other")
    asked = "import sys, os; print(sys.version_info >= (3, 11)); print(os.path.dirname(os.__file__))"
    new, folder = subprocess.run([system, "-c", asked], capture_output=True, text=True).stdout.split()
    if new != "True":
        pytest.skip("nobody can read this Python, and the system's is too old")
    monkeypatch.setattr(launching, "interpreter", lambda: (os.path.realpath(system), [folder]))


def _readable_by_all(path: str) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in Path(path).parents)
