"""Folders that replace others at one instant, and what is at a path."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.contracts import durable

OTHERS: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to(__file__),
    "a pipe": lambda path: os.mkfifo(path),
    "nothing": lambda path: None,
}


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    (path / "inner").mkdir()
    (path / "inner" / "other").write_text(text)
    return path


def test_replacing_a_folder_leaves_the_old_or_the_new_one_at_every_instant(tmp_path: Path) -> None:
    target, lost, over = folder(tmp_path / "target", "0"), list[OSError](), threading.Event()

    def watch() -> None:
        while not over.is_set():
            try:
                os.lstat(target)
            except OSError as error:
                lost.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(1, 200):
        durable.replace_directory(folder(tmp_path / "ready", str(number)), target)
    over.set()
    watcher.join()
    assert lost == []
    assert (target / "inner" / "other").read_text() == "199"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("other", [name for name in OTHERS if name != "nothing"])
def test_a_folder_replaces_whatever_is_there(tmp_path: Path, other: str) -> None:
    OTHERS[other](tmp_path / "target")
    durable.replace_directory(folder(tmp_path / "ready", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_without_an_exchange_the_old_folder_is_renamed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_exchange", lambda one, other: False)  # as on NFS
    folder(tmp_path / "target", "old")
    durable.replace_directory(folder(tmp_path / "ready", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_below_a_link_to_itself_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert durable.kind(tmp_path / "loop" / "manifest.json") == "nothing"
    assert durable.kind(tmp_path / "loop") == "a symbolic link"
