"""``source: repository``: code of a git repository in any language, parsed but never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt, field_validator

from ...contracts.nearest import suggestion
from ...contracts.operators import Estimate, Source
from .code_units import LANGUAGES, Unit, language_of, units
from .git_repository import Repository, RepositoryFile

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_BATCH_ROWS = 2048
_LICENSES = ("license", "licence", "copying", "unlicense")
_TEXTS = ("repository", "commit", "path", "language", "unit", "name", "source", "license")
_NUMBERS = ("start_line", "stop_line", "lines")


class RepositoryCode(Source):
    """Reads functions, classes or blocks of code from git repositories, in the order of files and lines.

    Files are read from a commit by git's plumbing commands, and parsed by tree-sitter: nothing is checked
    out or run. The language is that of a file's ending. What does not parse, links, submodules and files that
    are not UTF-8 are left out.

    Adds:
        repository (text): the repository, as given.
        commit (text): hash of the commit.
        path (text): the file.
        language (text): its language.
        unit (text): `function`, `class` or `block`.
        name (text): name of the function or class; null for blocks.
        source (text): the code with the comments directly above it, dedented.
        start_line, stop_line (int32): its first and last line, from 1.
        lines (int32): number of lines.
        license (text): the license file that is nearest above the file in the repository; null without one.

    Example:
        snippets: {source: repository, path: ../my-project, units: [function], min_lines: 5, max_lines: 40}
    """

    path: str | tuple[str, ...]
    """Repository to read, or a list of them. An empty list gives no rows."""
    rev: str = Field(default="HEAD", pattern=r"^[^-\s]\S*$")
    """Revision to read."""
    units: Annotated[tuple[Unit, ...], Field(min_length=1)] = ("function",)
    """What to read: each `function` or method, each `class` (struct, trait, interface), or each `block`: as
    many statements of the top level as fit into `max_lines`."""
    languages: tuple[str, ...] | None = None
    """Languages to read, such as `[rust, go]`. By default all that are known."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths to leave out, such as `["vendor/*", "*.min.js"]`; `*` matches any characters."""
    min_lines: PositiveInt = 3
    """Shortest unit to take, in lines."""
    max_lines: PositiveInt = 100
    """Longest unit to take, in lines."""
    max_kib: PositiveInt = 256
    """Largest file to read, in KiB. Larger ones are mostly generated, and slow to parse."""
    rows: PositiveInt | None = None
    """Maximum number of units to read. By default all are read."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for language in languages or ():
            if language not in LANGUAGES:
                raise ValueError(f"unknown language: {suggestion(language, list(LANGUAGES))}")
        return languages

    def content(self) -> Mapping[str, str]:
        paths = enumerate(self._paths())
        return {f"git {number} {self.rev}": Repository(path).commit(self.rev) for number, path in paths}

    def estimate(self, rows: int) -> Estimate:
        """Estimate one unit per two KiB of code, until it is read."""
        about = sum(file.size for path in self._paths() for file in self._files(Repository(path))) // 2048 + 1
        return Estimate(rows=about if self.rows is None else min(about, self.rows))

    def distinct_values(self) -> Mapping[str, int]:
        files = [file for path in self._paths() for file in self._files(Repository(path))]
        return {"language": len({language_of(file.path) for file in files}), "path": len(files)}

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return [*_TEXTS, *_NUMBERS]

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema(
            [*((name, pa.string()) for name in _TEXTS), *((name, pa.int32()) for name in _NUMBERS)]
        )
        rows = islice(self._rows(context), self.rows)
        while held := list(islice(rows, _BATCH_ROWS)):
            yield pa.RecordBatch.from_pylist(held, schema=schema)

    def _paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    def _files(self, repository: Repository) -> list[RepositoryFile]:
        return [
            file
            for file in repository.files(self.rev)
            if file.size <= self.max_kib << 10
            and (language := language_of(file.path)) is not None
            and (self.languages is None or language in self.languages)
            and not any(fnmatchcase(file.path, pattern) for pattern in self.exclude)
        ]

    def _rows(self, context: Context) -> Iterator[dict[str, Any]]:
        for path in self._paths():
            with Repository(path) as repository:
                told = {"repository": path, "commit": repository.commit(self.rev)}
                licenses = license_files(file.path for file in repository.files(self.rev))
                for file in self._files(repository):
                    context.check()
                    about = {**told, "license": license_of(file.path, licenses)}
                    yield from ({**about, **row} for row in self._units(repository, file))

    def _units(self, repository: Repository, file: RepositoryFile) -> Iterator[dict[str, Any]]:
        try:
            source = repository.content(file.blob).decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            return
        language = str(language_of(file.path))
        for unit in units(source, language, self.units, self.max_lines):
            lines = unit.stop - unit.start + 1
            if self.min_lines <= lines <= self.max_lines:
                yield {
                    "path": file.path.encode("utf-8", "replace").decode(),
                    "language": language,
                    "unit": unit.kind,
                    "name": unit.name,
                    "source": unit.source,
                    "start_line": unit.start,
                    "stop_line": unit.stop,
                    "lines": lines,
                }


def license_files(paths: Iterator[str]) -> dict[str, str]:
    """folder -> its license file, by the usual names (LICENSE, COPYING), also with an ending."""
    found: dict[str, str] = {}
    for path in paths:
        place = PurePosixPath(path)
        if place.name.lower().split(".")[0].split("-")[0] in _LICENSES:
            found.setdefault(place.parent.as_posix(), path)
    return found


def license_of(path: str, licenses: Mapping[str, str]) -> str | None:
    """The license file in the folder of a file, or in the nearest above."""
    folders = (folder.as_posix() for folder in PurePosixPath(path).parents)
    return next((licenses[folder] for folder in folders if folder in licenses), None)
