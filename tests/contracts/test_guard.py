from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from gristmill.contracts.guard import Guarded, guard_log, guarded

SECRET = "planted-value-1"


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_written_to_a_pipe_holds_neither_secrets_nor_control_sequences() -> None:
    pipe = io.StringIO()
    print(f"\x1b[31mred\x1b[0m {SECRET}\rover\x07", file=Guarded(pipe))
    Guarded(pipe).writelines([f"a {SECRET}\n", "b\n"])
    assert pipe.getvalue() == "\\u001b[31mred\\u001b[0m ***\\rover\\u0007\na ***\nb\n"


def test_a_terminal_is_drawn_on_and_obeys_nothing_else() -> None:
    terminal = Terminal()
    drawing = "\x1b[1A\x1b[2K\r\x1b[?25l\x1b[38;5;12mblue\x1b[0m"
    orders = (
        "\x1b]52;c;aGk=\x07 \x1b]8;;http://evil\x1b\\ \x1bP+q\x1b\\ \x9b2J \x1bc \x1b[5n \x1b[6n "
        "\x1b[20t \u202e"
    )
    print(f"{drawing} {SECRET} {orders}", file=Guarded(terminal))
    written = terminal.getvalue()
    assert written.startswith(f"{drawing} *** ")
    rest = written.removeprefix(drawing)
    assert not set(rest) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_the_streams_are_guarded_for_as_long_as_a_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout

    def fail() -> None:
        with guarded():
            assert sys.stdout.encoding == before.encoding
            print(SECRET)
            print(SECRET, file=sys.stderr)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sys.stdout is before
    assert capsys.readouterr() == ("***\n", "***\n")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    made = logging.getLogRecordFactory()
    guard_log()
    guard_log()
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger("planted").addHandler(handler)
    yield text
    logging.getLogger("planted").removeHandler(handler)
    logging.setLogRecordFactory(made)


def test_log_records_are_clean_whoever_makes_them(log: io.StringIO) -> None:
    logger = logging.getLogger("planted")
    logger.warning(
        "connecting to %s with %r", "http://user:pw@host/?api_key=abc", {"header": f"Bearer {SECRET}\x1b[2J"}
    )
    logger.warning("%d items", 3)
    try:
        raise RuntimeError(f"no luck with {SECRET}\x1b]0;x\x07")
    except RuntimeError:
        logger.exception("failed")
    assert log.getvalue().startswith(
        "connecting to http://***@host/?api_key=*** with {'header': 'Bearer ***\\x1b[2J'}\n3 "
        "items\nfailed\nTraceback"
    )
    assert r"RuntimeError: no luck with ***\u001b]0;x\u0007" in log.getvalue()
    assert SECRET not in log.getvalue()
