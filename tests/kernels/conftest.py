"""Both forms of every kernel in the same tests: the plain one, and Triton's, on a GPU or through its interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gristmill.kernels import dispatch


@pytest.fixture(params=["plain", "triton"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """The form that runs in the test."""
    with dispatch.use(request.param):
        yield request.param


@pytest.fixture
def device() -> torch.device:
    """Where the tests' tensors lie."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
