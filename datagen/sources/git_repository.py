"""Reading a git repository with plumbing commands: commits, the files they changed, and their contents."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ...contracts.errors import DataError

#: Disables everything that the repository's settings could make git run or fetch.
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager", "--no-replace-objects")
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
_FILES = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that a commit modified. ``before`` and ``after`` are blob ids."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a revision. ``blob``: the id of its content. ``size``: in bytes."""

    path: str
    blob: str
    size: int


class Repository:
    """A git repository, to be used with ``with``: one ``git cat-file`` process serves all contents.

    Raises DataError if git or the repository is missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if not Path(path).is_dir():
            raise DataError(f"{path}: no such folder")
        self._contents: subprocess.Popen[bytes] | None = None
        self._git("rev-parse", "--git-dir")

    def resolve(self, revision: str) -> list[str]:
        """Resolve a revision or range to commits (``^`` before those that bound it). Raises DataError."""
        return self._git("rev-parse", "--revs-only", "--end-of-options", revision).split() or self._unknown(
            revision
        )

    def commits(self, revision: str) -> list[str]:
        """Return the ids of the commits of a revision or range that have one parent, newest first."""
        named = self.resolve(revision)
        return self._git("rev-list", "--topo-order", "--min-parents=1", "--max-parents=1", *named).split()

    def changes(self, commit: str) -> list[FileChange]:
        """Return the regular files that a commit modified, sorted by path.

        Added, removed and renamed files are left out.
        """
        told = self._git(
            "diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-commit-id",
            "--diff-filter=M", commit,
        )  # fmt: skip
        parts = told.split("\0")
        found = []
        for head, path in zip(parts[::2], parts[1::2], strict=False):
            old_mode, new_mode, before, after, _ = head.lstrip(":").split(" ")
            if old_mode in _FILES and new_mode in _FILES and before != after:
                found.append(FileChange(path, before, after))
        return sorted(found, key=lambda change: change.path)

    def files(self, revision: str) -> list[RepositoryFile]:
        """Return the regular files of a revision, sorted by path."""
        told = self._git("ls-tree", "-r", "-z", "-l", "--full-tree", self.commit(revision))
        found = []
        for entry in filter(None, told.split("\0")):
            head, _, path = entry.partition("\t")
            mode, _, blob, size = head.split()
            if mode in _FILES:
                found.append(RepositoryFile(path, blob, int(size)))
        return sorted(found, key=lambda file: file.path)

    def commit(self, revision: str) -> str:
        """Return the id of the commit that a revision names. Raises DataError."""
        named = f"{revision}^{{commit}}"
        found = self._git("rev-parse", "--revs-only", "--end-of-options", named).split()
        return found[0] if len(found) == 1 else self._unknown(revision)[0]

    def message(self, commit: str) -> str:
        """A commit's message."""
        return self.content(commit).decode("utf-8", "replace").partition("\n\n")[2]

    def content(self, name: str) -> bytes:
        """Return the object's bytes. Raises DataError if it is missing (in a shallow or partial clone)."""
        assert self._contents is not None
        assert self._contents.stdin is not None
        assert self._contents.stdout is not None
        self._contents.stdin.write(f"{name}\n".encode())
        self._contents.stdin.flush()
        head = self._contents.stdout.readline().split()
        if len(head) != 3:
            raise DataError(f"{self.path}: the object {name} is missing: is this a full clone?")
        content = self._contents.stdout.read(int(head[2]))
        self._contents.stdout.read(1)
        return content

    def __enter__(self) -> Repository:
        self._contents = subprocess.Popen(
            self._command("cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._contents is not None:
            with self._contents as process:
                process.kill()
            self._contents = None

    def _command(self, *arguments: str) -> Sequence[str]:
        return ["git", *_SAFE, "-C", self.path, *arguments]

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return {**ours, **_ENVIRONMENT}

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                self._command(*arguments), capture_output=True, env=self._environment(), check=False
            )
        except FileNotFoundError:
            raise DataError("this needs the program git, which is not installed here") from None
        if done.returncode != 0:
            told = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise DataError(f"{self.path}: {told[0] if told else 'git failed'}")
        return done.stdout.decode("utf-8", "surrogateescape")

    def _unknown(self, revision: str) -> list[str]:
        raise DataError(f"{self.path}: no revision {revision!r}")


def texts(repository: Repository, change: FileChange, most: int) -> tuple[str, str] | None:
    """Return a file before and after; None if it is not UTF-8 or longer than ``most`` bytes."""
    sides = [repository.content(name) for name in (change.before, change.after)]
    if any(len(side) > most for side in sides):
        return None
    try:
        before, after = (side.decode("utf-8") for side in sides)
    except UnicodeDecodeError:
        return None
    return before, after
