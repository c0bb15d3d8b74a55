"""Diffs: they apply, GNU patch agrees, and they contain only what changed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.edits.diffs import applied, unified

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "d\r", "é\u2028x"]), max_size=12)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))


@given(TEXTS, TEXTS)
def test_a_diff_applies(before: str, after: str) -> None:
    diff = unified(before, after)
    assert applied(diff, before) == after
    assert (diff == "") == (before == after)


@given(TEXTS, TEXTS)
def test_context_may_be_left_out(before: str, after: str) -> None:
    diff = unified(before, after, context=0)
    assert applied(diff, before) == after
    assert not any(line.startswith(" ") for line in diff.split("\n"))


@given(LINES.filter(len), st.data())
def test_one_changed_line_is_one_line_in_the_diff(lines: list[str], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    changed = [*lines[:number], "changed", *lines[number + 1 :]]
    diff = unified("\n".join(lines) + "\n", "\n".join(changed) + "\n")
    marks = [line[:1] for line in diff.split("\n")[2:]]
    assert (marks.count("-"), marks.count("+"), marks.count("@")) == (1, 1, 1)


def test_the_format() -> None:
    before = "".join(f"{n}\n" for n in range(1, 21))
    after = before.replace("2\n", "two\n", 1).replace("19\n", "")
    assert unified(before, after) == (
        "--- before\n+++ after\n@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -16,5 +16,4 @@\n 16\n "
        "17\n 18\n-19\n 20\n"
    )
    assert unified("a", "b\n") == "--- before\n+++ after\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n"


@pytest.mark.skipif(shutil.which("patch") is None, reason="GNU patch is not installed")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\nc\n", "a\nc\n"),
        ("", "x\ny\n"),
        ("a", "a\nb"),
        ("x\n" * 9 + "y", "x\n" * 5 + "z\n" + "x\n" * 4 + "y\n"),
    ],
)
def test_gnu_patch_applies_it(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "file"
    file.write_text(before)
    diff = unified(before, after)
    subprocess.run(["patch", "-s", "-F0", str(file)], input=diff, text=True, check=True, capture_output=True)
    assert (file.read_text() if file.exists() else "") == after


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        ("hello", "two file lines"),
        ("--- before\n+++ after\n@@ -1 +1 @@\n-b\n+c\n", "line 1 is not 'b"),
        ("--- before\n+++ after\n@@ -1 +1 @@\n-a\n", "too early"),
        ("--- before\n+++ after\nnoise\n", "not a line"),
    ],
)
def test_a_diff_that_does_not_fit_is_refused(diff: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        applied(diff, "a\n")
