from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import EngineError, GristmillError, SpecError, SpecProblem
from gristmill.contracts.printable import printable, shown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[31mred\x1b[0m", r"\u001b[31mred\u001b[0m"),
        ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x07",
         r"\u001b]8;;http://evil\u001b" + "\\" + r"here\u001b]8;;\u0007"),
        ("\x1b]52;c;aGk=\x07", r"\u001b]52;c;aGk=\u0007"),
        ("\x9b2J\x9d0;title\x9c", r"\u009b2J\u009d0;title\u009c"),
        ("passed\rfailed", r"passed\rfailed"),
        ("a\b\b\x7f\x00\x0b\x0c", r"a\b\b" + "\\u007f\\u0000\\u000b\\f"),
        ("user\u202egpj.exe\u2066", r"user\u202egpj.exe\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("\U000e0041\ud800", r"\udb40\udc41\ud800"),
        ("two\r\nlines\tand a tab\n", "two\nlines\tand a tab\n"),
        ("é 漢字 👩\u200d💻 می\u200cخواهم \u00a0\u3000", "é 漢字 👩\u200d💻 می\u200cخواهم \u00a0\u3000"),
    ],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_written_out(text: str, written: str) -> None:
    assert printable(text) == written
    assert printable(written) == written


@given(st.text())
def test_nothing_that_controls_is_left_and_json_stays_what_it_was(text: str) -> None:
    left = {unicodedata.category(each) for each in printable(text) if each not in "\n\t"}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(each) for each in printable(text)} & {
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    }
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_an_error_can_be_printed_whatever_it_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "planted-value")
    hostile = "row \x1b]0;owned\x07 planted-value"
    clean = r"row \u001b]0;owned\u0007 ***"
    problem = SpecProblem(hostile, 1, 1, "", hostile)
    for error in (GristmillError(hostile), EngineError(hostile, retryable=True)):
        assert str(error) == shown(hostile) == clean
    assert str(SpecError([problem])) == f"{clean}:1:1: {clean}"
