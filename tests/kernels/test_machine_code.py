"""The machine code of the kernels that move most bytes: 16 bytes per load, and no spilled registers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: Instructions per element, at most.
READ = {
    "NF4 dequantize, nested": 9.0,
    "cross-entropy": 36.0,
    "q/k-norm forward": 18.0,
    "8-bit AdamW step": 170.0,
    "INT4 dequantize": 11.0,
}
PROGRAM = f"""
import dataclasses, json
import kernels_sass
found = kernels_sass.read_all({tuple(READ)})
print(json.dumps({{what: dataclasses.asdict(code) for what, code in found}}))
"""


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    path = tmp_path_factory.mktemp("triton")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True,
        env={**os.environ, "TRITON_CACHE_DIR": str(path), "PYTHONPATH": str(BENCHMARKS)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def read_at_16_bytes(code: dict[str, Any]) -> float:
    """The share of the bytes that one run of the code loads which are loaded 16 at a time."""
    loads = {int(size): count for size, count in code["loads"].items()}
    return 16 * loads.get(16, 0) / sum(size * count for size, count in loads.items())


def test_no_registers_are_spilled(codes: dict[str, dict[str, Any]]) -> None:
    assert set(codes) == set(READ)
    assert {what: code["spills"] for what, code in codes.items()} == dict.fromkeys(READ, 0)


@pytest.mark.parametrize(
    "what", ["NF4 dequantize, nested", "cross-entropy", "q/k-norm forward", "INT4 dequantize"]
)
def test_what_is_streamed_is_loaded_16_bytes_at_a_time(what: str, codes: dict[str, dict[str, Any]]) -> None:
    """The rest are scales, tables and single values."""
    assert read_at_16_bytes(codes[what]) > 0.6


def test_the_optimizer_loads_16_bytes_of_each_of_its_four_tensors(codes: dict[str, dict[str, Any]]) -> None:
    """A thread has 16 values: 4 loads of parameters, 4 of gradients, and one of each moment's codes."""
    assert codes["8-bit AdamW step"]["loads"]["16"] == 4 + 4 + 1 + 1


def test_nf4_looks_no_code_up_in_memory(codes: dict[str, dict[str, Any]]) -> None:
    """A thread decodes 64 weights. It loads one value of the table, and the scales of a block."""
    loads = codes["NF4 dequantize, nested"]["loads"]
    assert sum(count for size, count in loads.items() if size != "16") <= 5


@pytest.mark.parametrize("what", READ)
def test_instructions_per_element(what: str, codes: dict[str, dict[str, Any]]) -> None:
    assert codes[what]["per_element"] <= READ[what]
