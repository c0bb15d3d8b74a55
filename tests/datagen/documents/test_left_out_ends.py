"""Pages that leave end tags out are read like those that have them."""

from __future__ import annotations

import re

import pytest

from gristmill.datagen.documents.html_text import of_html

WHOLE = {
    "items": "<ul><li>a</li><li>b <b>x</b></li><li>c<ol><li>d</li><li>e</li></ol></li><li>f</li></ul>",
    "terms": "<dl><dt>t</dt><dd>u<p>more</p></dd><dt>v</dt><dd>w<dl><dt>x</dt><dd>y</dd></dl></dd></dl>",
    "paragraphs": "<p>one</p><p>two</p><h2>Title</h2><p>three</p><pre>four</pre><p>five</p>",
    "table": "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr>"
    "<tr><td>3</td><td>4</td></tr></tbody></table>after",
    "cells": "<table><tr><td><ul><li>a</li><li>b</li></ul></td><td><p>c</p></td></tr></table>",
    "anchors": "<p><a name='one'>first</a><a name='two'>second</a></p>",
}
#: The end tags that HTML lets a page leave out, and those of anchors, which old pages leave out.
OPTIONAL = r"</(li|dt|dd|p|tr|td|th|thead|tbody|a)>"


@pytest.mark.parametrize("name", WHOLE)
def test_a_page_without_optional_ends_is_the_page_with_them(name: str) -> None:
    bare = re.sub(OPTIONAL, "", WHOLE[name])
    assert bare != WHOLE[name]
    assert of_html(bare).text == of_html(WHOLE[name]).text


def test_the_text_of_the_whole_pages_is_what_it_should_be() -> None:
    assert of_html(WHOLE["items"]).text.splitlines()[:4] == ["- a", "- b **x**", "- c", "  1. d"]
    assert "| A | B |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |" in of_html(WHOLE["table"]).text


@pytest.mark.parametrize(
    "piece", ["<li>item", "<dt>term<dd>text", "<p>text", "<tr><td>cell", "<a name=x>place"]
)
def test_thousands_of_them_are_not_nested(piece: str) -> None:
    around = {"<li": "ul", "<dt": "dl", "<tr": "table"}.get(piece[:3], "div")
    text = of_html(f"<{around}>{piece * 3000}</{around}>").text
    assert len(re.findall("item|term|text|cell|place", text)) >= 3000
