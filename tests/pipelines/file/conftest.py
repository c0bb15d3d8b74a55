"""What the tests of the pipeline file share."""

from __future__ import annotations

import pytest

from gristmill.contracts import secrets


@pytest.fixture(autouse=True)
def _nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that a file of these tests names like a secret is none to the tests that follow."""
    monkeypatch.setattr(secrets, "_learned", set())
