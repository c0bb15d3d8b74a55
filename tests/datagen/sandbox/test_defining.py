"""The source of programs that are in no file."""

from __future__ import annotations

import linecache

from gristmill.datagen.sandbox.defining import remember


def test_only_what_python_takes_for_ends_of_lines_ends_a_line() -> None:
    remember('x = "\u2028"\n\x0c\r\ndef f(): ...\n', "<a program of this test>")
    lines = linecache.getlines("<a program of this test>")
    del linecache.cache["<a program of this test>"]
    assert lines == ['x = "\u2028"\n', "\x0c\n", "def f(): ...\n"]
