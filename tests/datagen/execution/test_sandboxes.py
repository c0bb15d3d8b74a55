"""Shared sandboxes: one per settings, closed only with the process that opened them."""

from __future__ import annotations

import os

import psutil
import pytest
from pydantic import ValidationError

from gristmill.datagen.execution.sandboxes import SandboxSettings, close_all, shared
from gristmill.datagen.sandbox.jobs import RunScript
from gristmill.datagen.sandbox.limits import Limits

SETTINGS = SandboxSettings(wall_seconds=60, workers=1)


def test_equal_settings_share_one() -> None:
    assert shared(SETTINGS) is shared(SandboxSettings(workers=1, wall_seconds=60))
    assert shared(SETTINGS) is not shared(SandboxSettings(workers=1, wall_seconds=61))


def test_closing_ends_the_workers_and_a_later_use_opens_anew() -> None:
    first = shared(SETTINGS)
    [worker] = [zygote.pid for zygote in first._zygotes]
    close_all()
    assert not psutil.pid_exists(worker)
    assert shared(SETTINGS) is not first
    assert shared(SETTINGS).run_now(RunScript("pass")).passed


def test_a_fork_that_ends_leaves_its_parents_sandbox_alone() -> None:
    box = shared(SETTINGS)
    child = os.fork()
    if child == 0:
        close_all()
        os._exit(0)
    os.waitpid(child, 0)
    assert box.run_now(RunScript("pass")).passed


def test_settings_name_every_limit_with_its_default() -> None:
    assert SandboxSettings().limits() == Limits()
    with pytest.raises(ValidationError, match="greater than 0"):
        SandboxSettings(memory_mib=0)
    with pytest.raises(ValidationError, match="Extra inputs"):
        SandboxSettings(memory=1)  # type: ignore[call-arg]
