"""Calls of functions in processes with limits: each limit ends one call, and the next is answered."""

from __future__ import annotations

import asyncio

import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.execution.limited_processes import CallLimitReached, LimitedProcesses


def test_each_limit_costs_one_call() -> None:
    processes = LimitedProcesses("timeit", "timeit", seconds=1, memory=64 << 20, workers=1)
    asked = {
        "pass": None,
        "bytearray(2 << 30)": "it needs more memory than 64 MiB",
        "max(iter(int, 1))": "it takes longer than 1 s",
        "import os; os._exit(3)": "its process ended with exit code 3",
        "sum(range(9))": None,
    }
    for source, expected in asked.items():
        if expected is None:
            assert asyncio.run(processes.call(stmt=source, number=1)) > 0
        else:
            with pytest.raises(CallLimitReached, match=expected):
                asyncio.run(processes.call(stmt=source, number=1))


def test_a_function_that_cannot_be_loaded_is_an_error_and_no_verdict() -> None:
    processes = LimitedProcesses("timeit", "nothing", seconds=1, memory=64 << 20, workers=1)
    with pytest.raises(DataError, match=r"process for timeit\.nothing cannot be started") as raised:
        asyncio.run(processes.call())
    assert not isinstance(raised.value, CallLimitReached)
