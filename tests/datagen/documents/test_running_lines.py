"""Running heads and page numbers go; whatever else stands at the edge of a page stays."""

from __future__ import annotations

from gristmill.datagen.documents.running_lines import without_running_lines

BODY = ["The mill stands", "by the river. It", "turns. In winter", "it stops, for", "the river", "freezes."]


def pages(*edges: tuple[str, str]) -> list[str]:
    return ["\n".join(filter(None, (top, body, end))) for (top, end), body in zip(edges, BODY, strict=True)]


def test_numbers_of_pages_go_with_the_line_that_they_are_in() -> None:
    numbered = [(f"1.{n} On mills", f"{n + 3} Chapter {n}. Mills") for n in range(6)]
    assert without_running_lines(pages(*numbered)) == [f"1.{n} On mills\n{BODY[n]}" for n in range(6)]
    shared = [("", f"The mill {n} / 30") if n % 2 else (f"{n}", "") for n in range(6)]
    assert without_running_lines(pages(*shared)) == BODY


def test_a_first_page_without_a_number_and_a_number_beside_it_stay() -> None:
    edges = [("", ""), *(("", f"page {n}") for n in range(2, 5)), ("", "it ground 70"), ("", "page 6")]
    kept = without_running_lines(pages(*edges))
    assert kept == [*BODY[:4], "the river\nit ground 70", BODY[5]]


def test_of_a_head_without_a_number_the_first_stays() -> None:
    heads = [("MILLS", ""), ("MILLS", ""), ("RIVERS", ""), ("MILLS", ""), ("MILLS", ""), ("ICE", "")]
    assert without_running_lines(pages(*heads)) == [
        f"MILLS\n{BODY[0]}", BODY[1], f"RIVERS\n{BODY[2]}", BODY[3], BODY[4], f"ICE\n{BODY[5]}",
    ]  # fmt: skip


def test_lines_on_a_few_pages_and_numbers_that_do_not_grow_with_them_stay() -> None:
    rows = pages(("a table", "1 4"), ("a table", "9 1"), ("a table", "3"), ("b", "8"), ("c", "1"), ("d", "7"))
    assert without_running_lines(rows) == rows
    assert without_running_lines([]) == []
    assert without_running_lines(["", "1"]) == ["", "1"]
    assert without_running_lines(["1", "2", "3"]) == ["", "", ""]
