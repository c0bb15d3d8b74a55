from __future__ import annotations

from pathlib import Path

import pytest

from .offered_tools import CODE


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my_tools.py"
    path.write_text(CODE)
    return str(path)
