from __future__ import annotations

import pytest

from gristmill.filters.dedup.words import SIGN, SIGNS, sign_between, signs_of, words_and_signs, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("小明有3个苹果，GPT-4答", "小 明 有 3 个 苹 果 gpt 4 答"),
        ("リンゴを食べる", "リ ン ゴ を 食 べ る"),
        ("ｶﾞｰﾄﾞ", "ガ ー ド"),
        ("วันนี้ 24 วัน", "วั น นี้ 24 วั น"),
        ("ສະບາຍດີ", "ส ะ บ า ย ดี".translate(str.maketrans("สะบายดี", "ສະບາຍດີ"))),
        ("မြန်မာ", "မြ န် မာ"),
        ("ខ្មែរ", "ខ្ មែ រ"),
        ("मेरा दिन मिला", "मेरा दिन मिला"),
        ("كَتَبَ، خ", "كَتَبَ خ"),
        ("한국어 문제", "한국어 문제"),
        ("1\ufe0f\u20e3 a\ufe0fb .\u0301", "1 a b"),
    ],
)
def test_words_of_every_script(text: str, words: str) -> None:
    assert words_of(text) == words.split()


def signs(text: str) -> str:
    """The signs of a text, as they are written in it."""
    as_written = {sign_between(f"1{sign}1")[1:]: sign for sign in SIGNS}
    found = [part.partition(SIGN)[2] for part in signs_of(text).split(" ")]
    return " ".join("".join(as_written.get(sign, sign) for sign in each) for each in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is 3 + 5?", "+"),
        ("What is 3-5?", "-"),
        ("What is 3\u2009−\u20095?", "-"),
        ("2010–2020", "-"),
        ("the square of -3, and of 3 -5", "- -"),
        ("3*5, 3 * 5, 3  ×  5, 2**8, a * (b / c)", "* * * ** * /"),
        ("if a >= b and b != -c or x = -1: a ^ b | c & d", ">= = =- ^ | &"),
        ("10% of C++ code, √9 < €5", "% ++ √ <€"),
        ("a **bold** word, *so*, ~~old~~ `x` $x$ or __y__", ""),
        ("a well-known man - old -- and COVID-19", ""),
        ("a\n- b\n* c\n+ d\n> e\n====\nf\n● g | \n", ""),
        ("> 3 apples + pears 😀", "+"),
        ("well done 🎉 next ★ one ▶ is 👍🏽 5 °c © me ↩ or ⇐ x", "↩ ⇐"),
        ("3 ➕ 5 ➖ 2 ✖\ufe0f 4 ➗ 1", "+ - * /"),
        ("x̄*y, x̄/ȳ", "* /"),
    ],
)
def test_signs_count_and_formatting_does_not(text: str, found: str) -> None:
    assert signs(text) == found


def test_signs_between_operands_are_words() -> None:
    plus = sign_between("1+1")
    assert words_and_signs("Add x+1, a + b and n² + é") == [
        *["add", "x", plus, "1", "a", plus, "b", "and", "n2", "é"]
    ]
    assert words_and_signs("total + count = 3") == ["total", "count", "3"]
    assert words_and_signs("x̄ + ȳ") == ["x̄", plus, "ȳ"]
    assert words_and_signs("3 ➕ 5 🎉 7") == ["3", plus, "5", "7"]


def test_words_without_a_gap_are_not_looked_at_for_signs() -> None:
    """Each pair of ideographs would be another gap, which no cache holds."""
    sign_between.cache_clear()
    text = "".join(map(chr, range(0x4E00, 0x4E40))) + " 1 + 1"
    assert len(words_and_signs(text)) == len(words_of(text)) + 1
    assert len(signs_of(text).split()) == 1
    assert sign_between.cache_info().misses == 1
