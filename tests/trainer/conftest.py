"""Rows to train on."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        {"_id": f"row-{n}", "prompt": "count " * (n % 5 + 1), "response": "one two three "[: 4 + n % 9]}
        for n in range(17)
    ]
