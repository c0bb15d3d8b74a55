"""A test in a fork of the warm process finds what a process of its own would give it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .entries import HERE, Entry

#: It dies with the mutation, and fails without it where the fork is not as it must be.
TEST = """
import sys

HELD = set(sys.modules)

import os
import subprocess

import numpy
import sklearn.cluster
import torch

from gristmill.thing import add


def test_add():
    assert {"numpy", "sklearn.cluster", "torch"} <= HELD
    assert not HELD & {"ray", "triton", "vllm"}
    # Two threads each: a pool of the first process would not be there.
    torch.set_num_threads(2)
    for ones in (torch.ones(512, 512), numpy.ones((512, 512))):
        assert float((ones @ ones).sum()) == 512**3
    points = numpy.repeat([[0.0], [9.0]], 500, axis=0)
    assert sklearn.cluster.KMeans(2, n_init=1, random_state=0).fit(points).inertia_ == 0
    child = "import gristmill, os; print(gristmill.__file__); print(dict(os.environ))"
    made = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    file, environment = made.stdout.splitlines()
    assert file == sys.modules["gristmill"].__file__
    assert file.startswith(os.environ["PYTHONPATH"].split(os.pathsep)[0])
    environment = eval(environment)
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    # What only an import of the first process has set, no child sees.
    assert not [name for name in environment if name.startswith("KMP_")]
    assert sys.argv[0] == sys.modules["__main__"].__file__
    assert os.path.basename(sys.argv[0]) == "pytest"
    assert add(1, 2) == 3
"""


def test_a_fork_holds_the_heavy_modules_and_computes(
    tree: Path, entry: Callable[..., Entry], write: Callable[[list[Entry]], None]
) -> None:
    (tree / "tests/test_fork.py").write_text(TEST)
    write([entry(test="tests/test_fork.py::test_add")])
    # Other tests of this process may have imported what sets them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
    made = subprocess.run(
        [sys.executable, "tests/mutants/run.py"], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert made.returncode == 0, made


@pytest.mark.parametrize("module", ["triton", "ray", "gristmill"])
def test_what_a_fork_must_import_itself_is_never_held(module: str) -> None:
    made = subprocess.run(
        [sys.executable, HERE / "warm_pytest.py", module], stdin=subprocess.DEVNULL, capture_output=True,
        text=True,
    )  # fmt: skip
    assert made.returncode == 1
    assert f"RuntimeError: a fork must not hold {module}" in made.stderr
