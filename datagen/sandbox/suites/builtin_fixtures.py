"""The built-in fixtures of pytest that generated tests use."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

Captured = namedtuple("Captured", "out err")
_MISSING: Any = object()


class CaptureFixture:
    """``capsys`` and ``capfd``: the text printed since the last read."""

    def __class_getitem__(cls, item: Any) -> type[CaptureFixture]:
        return cls

    def __init__(self) -> None:
        self._streams = io.StringIO(), io.StringIO()

    def readouterr(self) -> Captured:
        texts = [stream.getvalue() for stream in self._streams]
        for stream in self._streams:
            stream.seek(0)
            stream.truncate()
        return Captured(*texts)

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
            yield


def capsys() -> Iterator[CaptureFixture]:
    capture = CaptureFixture()
    out, err = capture._streams
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield capture


class MonkeyPatch:
    """Sets attributes, items and environment variables, and undoes all changes."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    @classmethod
    @contextlib.contextmanager
    def context(cls) -> Iterator[MonkeyPatch]:
        patch = cls()
        try:
            yield patch
        finally:
            patch.undo()

    def setattr(self, target: Any, name: Any, value: Any = _MISSING, raising: bool = True) -> None:
        if value is _MISSING:
            target, name, value = *_owner(target), name
        old = getattr(target, name, _MISSING)
        if raising and old is _MISSING:
            raise AttributeError(f"{target!r} has no attribute {name!r}")
        if isinstance(target, type):
            old = vars(target).get(name, _MISSING)  # without binding
        setattr(target, name, value)
        self._undo.append(lambda: delattr(target, name) if old is _MISSING else setattr(target, name, old))

    def delattr(self, target: Any, name: Any = _MISSING, raising: bool = True) -> None:
        if name is _MISSING:
            target, name = _owner(target)
        old = getattr(target, name, _MISSING)
        if old is not _MISSING:
            delattr(target, name)
            self._undo.append(lambda: setattr(target, name, old))
        elif raising:
            raise AttributeError(name)

    def setitem(self, mapping: Any, name: Any, value: Any) -> None:
        old = mapping.get(name, _MISSING)
        mapping[name] = value
        self._undo.append(
            lambda: mapping.pop(name, None) if old is _MISSING else mapping.__setitem__(name, old)
        )

    def delitem(self, mapping: Any, name: Any, raising: bool = True) -> None:
        if name in mapping:
            old = mapping.pop(name)
            self._undo.append(lambda: mapping.__setitem__(name, old))
        elif raising:
            raise KeyError(name)

    def setenv(self, name: str, value: Any, prepend: str | None = None) -> None:
        text = str(value)
        if prepend and name in os.environ:
            text += prepend + os.environ[name]
        self.setitem(os.environ, name, text)

    def delenv(self, name: str, raising: bool = True) -> None:
        self.delitem(os.environ, name, raising)

    def chdir(self, path: Any) -> None:
        old = os.getcwd()
        os.chdir(path)
        self._undo.append(lambda: os.chdir(old))

    def syspath_prepend(self, path: Any) -> None:
        old = sys.path[:]
        sys.path.insert(0, str(path))
        self._undo.append(lambda: sys.path.__setitem__(slice(None), old))

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()


def _owner(target: str) -> tuple[Any, str]:
    """``module.Class.name`` -> the object and the name."""
    path, _, name = target.rpartition(".")
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found, name
    raise ImportError(f"no module {path!r}")


def monkeypatch() -> Iterator[MonkeyPatch]:
    with MonkeyPatch.context() as patch:
        yield patch


class TempPathFactory:
    """Creates folders below the run's own folder."""

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        import tempfile

        if numbered:
            return Path(tempfile.mkdtemp(prefix=basename))
        path = Path(tempfile.gettempdir(), basename)
        path.mkdir()
        return path

    def getbasetemp(self) -> Path:
        import tempfile

        return Path(tempfile.gettempdir())


def tmp_path_factory() -> TempPathFactory:
    return TempPathFactory()


def tmp_path() -> Path:
    return TempPathFactory().mktemp("test")


class LogCaptureFixture:
    """``caplog``: the log records."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    @property
    def records(self) -> list[logging.LogRecord]:
        return self.handler.records  # type: ignore[no-any-return]

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def record_tuples(self) -> list[tuple[str, int, str]]:
        return [(record.name, record.levelno, record.getMessage()) for record in self.records]

    @property
    def text(self) -> str:
        return "".join(f"{record.levelname} {record.name} {record.getMessage()}\n" for record in self.records)

    def clear(self) -> None:
        self.records.clear()

    def set_level(self, level: Any, logger: str | None = None) -> None:
        import logging

        logging.getLogger(logger).setLevel(level)

    @contextlib.contextmanager
    def at_level(self, level: Any, logger: str | None = None) -> Iterator[None]:
        import logging

        told = logging.getLogger(logger)
        old = told.level
        told.setLevel(level)
        try:
            yield
        finally:
            told.setLevel(old)


def caplog() -> Iterator[LogCaptureFixture]:
    import logging

    class Keeps(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.records: list[logging.LogRecord] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.records.append(record)

    root, handler = logging.getLogger(), Keeps()
    root.addHandler(handler)
    level = root.level
    try:
        yield LogCaptureFixture(handler)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def recwarn() -> Iterator[Any]:
    import warnings

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        yield seen


class FixtureRequest:
    """``request`` of a fixture or test: its parameter, the name of the test, and its finalizers."""

    def __init__(
        self, param: Any, name: str, ending: Callable[[Callable[[], Any]], None], value: Callable[[str], Any]
    ) -> None:
        if param is not _MISSING:
            self.param = param
        self.node = type("Node", (), {"name": name})()
        self.addfinalizer = ending
        self.getfixturevalue = value


NO_PARAM = _MISSING
BUILT_IN: dict[str, Callable[..., Any]] = {
    "capsys": capsys,
    "capfd": capsys,
    "monkeypatch": monkeypatch,
    "tmp_path": tmp_path,
    "tmp_path_factory": tmp_path_factory,
    "caplog": caplog,
    "recwarn": recwarn,
}
