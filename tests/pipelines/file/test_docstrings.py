from __future__ import annotations

from gristmill.pipelines.file.docstrings import Docstring, read

TEXT = """Keeps the ``best`` rows
    of each group.

    Ties go to the earlier row.

    Adds:
        rank (int32): place of the row,
            from 0: the first.
        a, b (text): the same.

    Filters:
        null: there is no number.

    Example:
        best: {select: best, by: score, from: rows}
        more:
          keep: "a > 1"
    """


def test_a_docstring_is_read_into_its_parts() -> None:
    assert read(TEXT) == Docstring(
        summary="Keeps the `best` rows of each group.",
        details=("Ties go to the earlier row.",),
        sections={
            "Columns that it adds": (
                ("rank (int32)", "place of the row, from 0: the first."),
                ("a, b (text)", "the same."),
            ),
            "Rows that it filters, by rule": (("null", "there is no number."),),
        },
        example='best: {select: best, by: score, from: rows}\nmore:\n  keep: "a > 1"',
    )


def test_a_summary_alone_and_nothing_at_all() -> None:
    assert read("One line.") == Docstring("One line.")
    assert read(None) == read("") == Docstring()


def test_a_heading_that_is_no_section_stays_a_paragraph() -> None:
    assert read("Sum.\n\nReturns:\n    a number.").details == ("Returns: a number.",)
