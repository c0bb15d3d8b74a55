"""Compilation of every kernel to machine code for a GPU, which the interpreter does not cover."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import gristmill.kernels.gpu

SCRIPT = Path(__file__).with_name("compiling.py")
HOPPER = "90"


def _launched() -> set[str]:
    """Return the kernels in ``kernels/gpu`` that are launched: ``_name[grid](...)``."""
    found = set()
    for path in Path(gristmill.kernels.gpu.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
                assert isinstance(node.func.value, ast.Name)
                found.add(f"{path.stem}.{node.func.value.id.strip('_')}")
    return found


def test_every_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), HOPPER],
        capture_output=True, text=True, env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = json.loads(done.stdout.splitlines()[-1])
    assert _launched() == set(compiled)
    assert len(compiled) >= 14
