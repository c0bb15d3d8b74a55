"""Both forms of every kernel in the same tests: the plain one, and Triton's, on a GPU or through its interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import torch

from gristmill.kernels import dispatch

GPU = torch.cuda.is_available()


def _interpret() -> None:
    """Import Triton as its interpreter, which is decided once a process; leave no setting to child processes."""
    if "triton" in sys.modules:
        raise RuntimeError("Triton was imported before its interpreter could be asked for; import it later")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        import triton

        triton.knobs.runtime.interpret = True
    finally:
        del os.environ["TRITON_INTERPRET"]


if not GPU:
    _interpret()


@pytest.fixture(params=["plain", "triton"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """The form that runs in the test."""
    with dispatch.use(request.param):
        yield request.param


@pytest.fixture
def device() -> torch.device:
    """Where the tests' tensors lie."""
    return torch.device("cuda" if GPU else "cpu")
