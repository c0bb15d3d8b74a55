"""Fixtures that run both forms of every kernel: the plain one, and Triton on a GPU or interpreted."""

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
    """Device of the tests' tensors."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
