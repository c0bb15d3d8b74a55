"""``source: git_history``: edits from the commits of a git repository, with their messages as
instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from ...contracts.operators import Estimate, Source
from ..edits.diffs import lines_of, unified
from ..verify.edit import changes, same_program
from .git_repository import FileChange, Repository, texts
from .python_functions import functions

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_BATCH_ROWS = 512
#: Trailers at the end of a message.
_TRAILER = re.compile(r"^([A-Z][\w-]*-(by|Id|Link)|Change-Id|Closes|Fixes|Refs?): \S.*$", re.IGNORECASE)


class GitHistory(Source):
    """Reads edits from the commits of a git repository, with the commit message as the instruction.

    Commits are read from the newest to the oldest, with git's plumbing commands: nothing is checked out or
    run. Merges and root commits are skipped, as are added, removed or renamed files, and edits that change
    only spaces and comments.

    Adds:
        before (text): code before the commit.
        after (text): code after it.
        diff (text): unified diff between the two.
        instruction (text): the commit's message without trailers such as `Signed-off-by:`.
        subject (text): first line of the message.
        commit (text): hash of the commit.
        path (text): file that was changed.
        function (text): qualified name of the function; null for files.
        changed_lines (int32): lines with - or + in the diff.
        changed_fraction (float64): share of the lines before that are changed.

    Example:
        commits: {source: git_history, path: ../my-project, rev: v1.0..main}
    """

    path: str | tuple[str, ...]
    """Repository to read, or a list of them. An empty list gives no rows."""
    rev: str = Field(default="HEAD", pattern=r"^[^-\s]\S*$")
    """Revision to read back from, or a range such as `v1.0..main`."""
    suffix: str = ".py"
    """Suffix of the files to read."""
    unit: Literal["function", "file"] = "function"
    """Unit of a row: a changed `function` of a Python file, dedented, or a whole `file`."""
    max_lines: PositiveInt = 200
    """Maximum length of the code before or after, in lines."""
    max_changed: float = Field(0.5, gt=0, le=1)
    """Maximum share of the lines before that an edit may change."""
    most: PositiveInt = 3
    """Maximum number of changed functions or files per commit. The message of a larger commit hardly
    describes each of them."""
    min_words: PositiveInt = 3
    """Minimum number of words in a commit message."""
    rows: PositiveInt | None = None
    """Maximum number of edits to read. By default all are read."""

    def content(self) -> Mapping[str, str]:
        return {
            f"git {number} {self.rev}": " ".join(Repository(path).resolve(self.rev))
            for number, path in enumerate(self._paths())
        }

    def estimate(self, rows: int) -> Estimate:
        """Estimate one edit per two commits, until they are read."""
        about = sum(max(1, len(Repository(path).commits(self.rev)) // 2) for path in self._paths())
        return Estimate(rows=about if self.rows is None else min(about, self.rows))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str]:
        return list(self.makes_types({}))

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        texts = ("before", "after", "diff", "instruction", "subject", "commit", "path", "function")
        numbers = {"changed_lines": pa.int32(), "changed_fraction": pa.float64()}
        return {**dict.fromkeys(texts, pa.string()), **numbers}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema(self.makes_types({}))
        held: list[dict[str, Any]] = []
        for row in islice(self._all_edits(context), self.rows):
            held.append(row)
            if len(held) == _BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(held, schema=schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema=schema)

    def _paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    def _all_edits(self, context: Context) -> Iterator[dict[str, Any]]:
        for path in self._paths():
            with Repository(path) as repository:
                yield from self._edits(repository, context)

    def _edits(self, repository: Repository, context: Context) -> Iterator[dict[str, Any]]:
        for commit in repository.commits(self.rev):
            context.check()
            changed = [each for each in repository.changes(commit) if each.path.endswith(self.suffix)]
            if not changed or len(changed) > self.most:
                continue
            message = without_trailers(repository.message(commit))
            if len(message.split()) < self.min_words:
                continue
            edits = [edit for change in changed for edit in self._units(repository, change)]
            if len(edits) > self.most:
                continue
            told = {"instruction": message, "subject": message.split("\n")[0], "commit": commit}
            yield from ({**told, **edit} for edit in edits if self._fits(edit))

    def _units(self, repository: Repository, change: FileChange) -> Iterator[dict[str, Any]]:
        sides = texts(repository, change, self.max_lines * 200 if self.unit == "file" else 1 << 20)
        if sides is None:
            return
        path = change.path.encode("utf-8", "replace").decode()
        if self.unit == "file":
            pairs: list[tuple[str | None, str, str]] = [(None, *sides)]
        else:
            pairs = list(changed_functions(*sides, PurePosixPath(path).stem))
        for name, before, after in pairs:
            if before == after:
                continue
            diff = unified(before, after)
            removed, count = changes(diff)
            yield {
                "path": path,
                "function": name,
                "before": before,
                "after": after,
                "diff": diff,
                "changed_lines": count,
                "changed_fraction": removed / max(1, len(lines_of(before))),
            }

    def _fits(self, edit: Mapping[str, Any]) -> bool:
        sides = (edit["before"], edit["after"])
        if any(not side.strip() or len(lines_of(side)) > self.max_lines for side in sides):
            return False
        return edit["changed_fraction"] <= self.max_changed and not same_program(*sides)


def changed_functions(before: str, after: str, module: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield (qualified name, source before, source after) of each changed function.

    Both files must define it exactly once.
    """
    old, new = _named(before, module), _named(after, module)
    for name, source in new.items():
        earlier = old.get(name)
        if source is not None and earlier is not None and source != earlier:
            yield name, earlier, source


def _named(source: str, module: str) -> dict[str, str | None]:
    """Return sources by qualified name; None for a name defined more than once (a property's setter, say)."""
    found: dict[str, str | None] = {}
    for function in functions(source.encode(), module):
        found[function.qualname] = None if function.qualname in found else function.source
    return found


def without_trailers(message: str) -> str:
    """Remove trailers such as ``Signed-off-by:`` from a commit message."""
    lines = message.replace("\r\n", "\n").strip().split("\n")
    while lines and (not lines[-1].strip() or _TRAILER.match(lines[-1])):
        lines.pop()
    return "\n".join(line.rstrip() for line in lines).strip()
