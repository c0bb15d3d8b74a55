"""The code paths of the GPU benchmark on any machine: tiny shapes, and Triton's interpreter without a GPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gristmill.kernels import dispatch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("kernels_gpu")


def test_every_kernel_runs_and_has_a_roof(benchmark: ModuleType, device: torch.device) -> None:
    tiny = benchmark.Shapes(tokens=3, hidden=70, inner=90, vocabulary=33, heads=3, key_heads=1, head=6)
    with dispatch.use("triton"):
        cases = benchmark.cases(device, tiny, peers=False)
        assert len(cases) >= 14
        assert len({case.name for case in cases}) == len(cases)
        figures, table = benchmark.measure(
            cases, benchmark.roofs(device, 1 << 16, 32), (3e12, 1e15), quick=True
        )
    assert [row["kernel"] for row in table] == [case.name for case in cases]
    assert all(
        row["us"] > 0 and row["of_measured_roof"] > 0 and row["of_datasheet_roof"] > 0 for row in table
    )
    assert all(figure.peer > 0 and figure.ratio > 0 for figure in figures)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_says_in_one_line_that_there_is_no_gpu(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "write", lambda *_: pytest.fail("wrote a result"))
    assert benchmark.main([]) == 2
    assert capsys.readouterr().out == "kernels_gpu: no CUDA GPU here, so nothing was measured\n"
