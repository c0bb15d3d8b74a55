"""Puts finished files and directories in their place at once: readers see the old ones or the new ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import DataError
from ..operator import Written


def place_file(
    path: str | None, default: Path, ending: str, rows: int, write: Callable[[Path], None]
) -> Written:
    """Have ``write`` make the file under another name, then move it to where ``path`` says.

    A path that ends with one of the format's endings is the file; any other is a directory, local
    or an fsspec URL, in which the file is called ``data`` plus ``ending``.
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
                write(partial)
                _flush(partial)
                os.replace(partial, final)
            finally:
                partial.unlink(missing_ok=True)
        else:
            with TemporaryDirectory() as scratch:
                write(Path(scratch) / name)
                # Object stores show an upload only once it is whole.
                system.put_file(str(Path(scratch) / name), f"{folder.rstrip('/')}/{name}")
    return Written(location=target, files=[name], rows=rows)


def place_directory(path: Path, marker: str, write: Callable[[Path], None]) -> list[str]:
    """Have ``write`` fill a directory beside ``path``, then put it there, replacing an earlier export.

    A directory without the file ``marker`` is somebody else's: it is refused, never replaced.
    Answers the files' names below ``path``, sorted.
    """
    path = path.absolute()
    if path.exists() and not (path / marker).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path}: holds something that is no export of ours; name an empty place to write to")
    partial, former = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.former")
    with _readable_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in (partial, former):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir()
        try:
            write(partial)
            names = sorted(str(file.relative_to(partial)) for file in partial.rglob("*") if file.is_file())
            for name in names:
                _flush(partial / name)
            if path.exists():
                os.rename(path, former)
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(former, ignore_errors=True)
    return names


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _readable_errors(target: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error
