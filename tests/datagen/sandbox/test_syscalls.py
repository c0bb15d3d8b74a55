"""Kernel calls that are made ready beforehand."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from gristmill.datagen.sandbox.syscalls import Prepared


def test_calls_are_made_in_turn_with_what_those_before_them_gave(tmp_path: Path) -> None:
    calls, descriptor = Prepared(), ctypes.c_long(-1)
    path = os.fsencode(tmp_path / "file")
    calls.add("open", "open", path, os.O_CREAT | os.O_WRONLY, 0o600, into=descriptor)
    calls.add("write", "write", descriptor, b"words", 5)
    calls.add("close", "close", descriptor)
    assert not (tmp_path / "file").exists()
    for _ in range(2):  # as often as there are copies
        calls.make()
        assert (tmp_path / "file").read_text() == "words"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor.value)


def test_a_call_that_the_kernel_refuses_is_named_and_ends_them(tmp_path: Path) -> None:
    calls = Prepared()
    calls.add("make a folder", "mkdir", os.fsencode(tmp_path), 0o700)
    calls.add("make another", "mkdir", os.fsencode(tmp_path / "another"), 0o700)
    with pytest.raises(FileExistsError, match="make a folder: File exists"):
        calls.make()
    assert not (tmp_path / "another").exists()


def test_what_is_not_needed_may_be_refused(tmp_path: Path) -> None:
    calls = Prepared()
    calls.add("make a folder", "mkdir", os.fsencode(tmp_path), 0o700, needed=False)
    calls.add("make another", "mkdir", os.fsencode(tmp_path / "another"), 0o700)
    calls.make()
    assert (tmp_path / "another").is_dir()
