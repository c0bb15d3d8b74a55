from __future__ import annotations

import pytest

from gristmill.datagen.parsers import LabelsParser, Unparsed

PARSER = LabelsParser(labels=("detailed", "concise"), columns={"concise": "short"})


@pytest.mark.parametrize(
    "text",
    [
        "Detailed: One.\nTwo.\nConcise: Three.",
        "**Detailed:** One.\nTwo.\n\n**Concise**: Three.\n",
        "Here they are:\n\n### detailed\n\nOne.\nTwo.\n\n### Concise\nThree.",
        '- Detailed: "One.\nTwo."\n- Concise: “Three.”',
        "CONCISE:Three.\r\ndetailed :\r\nOne.\nTwo.",
    ],
)
def test_labels_are_found_however_a_model_writes_them(text: str) -> None:
    [row] = PARSER.parse(text)  # type: ignore[misc]
    assert {name: value.replace("\r", "") for name, value in row.items()} == {
        "detailed": "One.\nTwo.",
        "short": "Three.",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Detailed: One.", "no concise:"),
        ("Detailed: One.\nConcise:\n", "concise: is empty"),
        ("Detailed: One.\nConcise: Two.\nDetailed: Three.", "detailed: comes again"),
        ("A detailed: One. and a concise: Two.", "no detailed:"),
        ("detailed One.\nConcise: Two.", "no detailed:"),
    ],
)
def test_what_is_missing_or_comes_again_is_the_reason(text: str, reason: str) -> None:
    assert PARSER.parse(text) == Unparsed(reason)


def test_quotes_within_a_text_stay() -> None:
    [row] = PARSER.parse('Detailed: "One" and "two"\nConcise: say "three"')  # type: ignore[misc]
    assert row == {"detailed": '"One" and "two"', "short": 'say "three"'}


def test_a_long_text_is_read_in_one_pass() -> None:
    marks = "*" * 1_000_000
    [row] = PARSER.parse(f"Detailed: {marks}\n{marks}\nConcise: x")  # type: ignore[misc]
    assert row["short"] == "x"
    assert len(row["detailed"]) > 1_000_000
