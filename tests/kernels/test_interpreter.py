"""Without a GPU, the Triton forms run in Triton's interpreter, in this process only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU kernels are compiled")
def test_triton_interprets_here_and_leaves_child_processes_alone() -> None:
    import triton
    from triton.runtime.interpreter import InterpretedFunction

    from gristmill.kernels.gpu import swiglu

    assert triton.knobs.runtime.interpret
    assert isinstance(swiglu._forward, InterpretedFunction)
    assert "TRITON_INTERPRET" not in os.environ
    said = subprocess.run(
        [sys.executable, "-P", "-c", "import triton; print(triton.knobs.runtime.interpret)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "False"
