"""Moves finished files and directories into place atomically: readers see either the old or the new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ...contracts.durable import flush, kind, remove, replace, replace_directory
from ...contracts.errors import DataError
from ...contracts.operators import Written


def place_file(
    path: str | None, default: Path, ending: str, rows: int, write: Callable[[Path], None]
) -> Written:
    """Let ``write`` write the file under another name, then move it to ``path``.

    A path that ends with one of the format's endings is the file; any other is a directory, local
    or an fsspec URL, in which the file is named ``data`` plus ``ending``.
    """
    import fsspec

    target = str(default) if path is None else path
    name = f"data{ending}"
    if path is not None and path.endswith(ending):
        target, _, name = path.rpartition("/")
        target = target or "."
    with _readable_errors(target):
        system, folder = fsspec.core.url_to_fs(target)
        system.makedirs(folder, exist_ok=True)
        if isinstance(system, fsspec.implementations.local.LocalFileSystem):
            final = Path(folder) / name
            partial = final.with_name(f".{name}.partial")
            try:
                remove(partial)
                write(partial)
                flush(partial)
                _clear(final)
                replace(partial, final)
            finally:
                remove(partial)
        else:
            with TemporaryDirectory() as scratch:
                write(Path(scratch) / name)
                # Object stores show an upload only when it is complete.
                system.put_file(str(Path(scratch) / name), f"{folder.rstrip('/')}/{name}")
    return Written(location=target, files=[name], rows=rows)


def place_directory(
    path: Path, markers: Sequence[str], write: Callable[[Path], None], *, ours: bool = False
) -> list[str]:
    """Let ``write`` fill a temporary directory, then move it to ``path``, replacing an earlier export.

    A directory without any of the files ``markers`` is not an export and is never replaced, unless
    ``ours`` is true (inside a run directory). Returns the sorted names of the files below ``path``.
    """
    path = path.absolute()
    if not ours and path.exists() and not _is_export(path, markers):
        raise _not_ours(path)
    partial = path.with_name(f".{path.name}.partial")
    with _readable_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        partial.mkdir()
        try:
            write(partial)
            names = sorted(str(file.relative_to(partial)) for file in partial.rglob("*") if file.is_file())
            replace_directory(partial, path)
        finally:
            remove(partial)
    return names


def _is_export(path: Path, markers: Sequence[str]) -> bool:
    """Is the directory an earlier export or empty?"""
    return path.is_dir() and (any((path / name).is_file() for name in markers) or not any(path.iterdir()))


def file_at(path: str, ending: str) -> Path | None:
    """The local file that :func:`place_file` writes for a path; None for a URL."""
    if "://" in path:
        return None
    return Path(path) if path.endswith(ending) else Path(path) / f"data{ending}"


def refuse_file(file: Path) -> None:
    """Raise DataError if a file cannot be written because of what is in its place or above it."""
    _clear(file)
    _refuse_above(file)


def refuse_directory(path: Path, markers: Sequence[str]) -> None:
    """Raise DataError if a directory cannot be written because of what is in its place or above it."""
    if path.exists() and not _is_export(path, markers):
        raise _not_ours(path)
    _refuse_above(path)


def _refuse_above(path: Path) -> None:
    for above in path.absolute().parents:
        if above.exists() and not above.is_dir():
            raise DataError(f"{path}: {above} is a file, and a folder is needed there: name another place")


def _not_ours(path: Path) -> DataError:
    return DataError(
        f"{path}: holds something that is not an export of Gristmill; name an empty place to write to"
    )


def local_files(written: Written) -> list[Path]:
    """The files of an export on local file systems."""
    location = written.location.removeprefix("file://")
    paths = [] if "://" in location else [Path(location) / name for name in written.files]
    return [path for path in paths if kind(path) == "a file"]


def _clear(path: Path) -> None:
    """Raise DataError if something other than a file is in the place of the file."""
    if kind(path) == "a folder":
        raise DataError(
            f"{path}: a folder is in the place of the file to write: move it away, or name another"
        )


@contextmanager
def _readable_errors(target: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error
