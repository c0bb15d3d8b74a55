"""Arrow's allocator during a run, and after it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.pipelines.run.allocation import allocation


def test_takes_jemalloc_where_there_is_one_and_puts_the_old_one_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    before = pa.default_memory_pool().backend_name
    with allocation(limited=False):
        wanted = "jemalloc" if "jemalloc" in pa.supported_memory_backends() else before
        assert pa.default_memory_pool().backend_name == wanted
    assert pa.default_memory_pool().backend_name == before


def test_leaves_the_choice_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    before = pa.default_memory_pool().backend_name
    with allocation(limited=False):
        assert pa.default_memory_pool().backend_name == before
