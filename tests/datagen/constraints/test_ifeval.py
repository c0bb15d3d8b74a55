"""IFEval's 25 checks: responses that pass, near misses, and the peculiarities of IFEval's own code.

benchmarks/ifeval_agreement.py compares them with IFEval's own code on real answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError, MissingPackage
from gristmill.datagen.constraints.check import Check
from gristmill.datagen.constraints.ifeval import IFEVAL, optional
from gristmill.datagen.constraints.kinds import KINDS, constraint_from

#: kind -> (parameters, responses that pass, near misses)
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "keywords:existence": (
        {"keywords": ["river", "bread"]},
        ["Breadcrumbs by RIVERS."],
        ["A river only.", "Bred by a river."],
    ),
    "keywords:frequency": (
        {"keyword": " river ", "frequency": 2, "relation": "at least"},
        ["A river and RIVERSIDE."],
        ["A river."],
    ),
    "keywords:forbidden_words": (
        {"forbidden_words": ["good", "very"]},
        ["Goodness is everything."],
        ["Good, then.", "it is VERY fine"],
    ),
    "keywords:letter_frequency": (
        {"letter": "B", "let_frequency": 2, "let_relation": "less than"},
        ["A bear."],
        ["Big bear."],
    ),
    "language:response_language": (
        {"language": "de"},
        ["Die alte Fähre bringt zweimal am Tag Briefe auf die kleine Insel.", "12345"],
        ["The old ferry brings letters to the small island twice a day."],
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "less than"},
        ["Dr. Smith of the U.S. office came at 5 p.m. to see it.", "No end\n\nand no end"],
        ["It rained. It stopped."],
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2},
        ["One.\n***\nTwo.", "***One.*** Two.\n***"],
        ["One.\n\nTwo.", "One.\n***\n***\nTwo.", "One.***Two.***Three."],
    ),
    "length_constraints:number_words": (
        {"num_words": 4, "relation": "at least"},
        ["It's well-known."],
        ["Three words here."],
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Today"},
        ["One.\n\nTODAY it rains.", "One.\n\n'\"today's rain\"", "One.\n\nToday\n\n \n"],
        ["One.\n\nTodays rain.", "One.\n\nToday.\n\nThree.", "One.\n \nToday.", "\n\nOne.\n\nToday."],
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        ["Dear [name], [] is here.", "[[a]] [b]"],
        ["Dear [name] of [the\ncity].", "[a [b]"],
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        ["Hello, p. s. call me.", "P.S."],
        ["Hello. P.S", "PS: call me."],
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        ["* a\n\n  - b", "*a\n-b", "*\n* a\n* b", "---\n* a"],
        ["* a", "* a\n* b\n* c", "**a**\n- b", "• a\n• b"],
    ),
    "detectable_format:constrained_response": (
        {},
        ["I think: My answer is no."],
        ["my answer is yes.", "My answer is yes!"],
    ),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        ["*one* and *two*", "**one** **two**", "***one***"],
        ["*one*", "**one**", "* * *one*", "*one\ntwo* *"],
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "PART", "num_sections": 2},
        ["PART 1\na PART2 b", "PART 1PART 9 PART 3"],
        ["PART 1\nPart 2", "PART one PART 2"],
    ),
    "detectable_format:json_format": (
        {},
        ['{"a": 1}', "```JSON\n[1]\n```", "```3```"],
        ['{"a": 1} ok', "```yaml\na: 1\n```", "{'a': 1}"],
    ),
    "detectable_format:title": (
        {},
        ["It is. <<A title>> So.", "<<<a>>>"],
        ["<A title>", "<<A\ntitle>>", "<< >>", "<<>>"],
    ),
    "combination:two_responses": (
        {},
        ["One.******Two.", "******One.******Two.******"],
        ["One.******One.", "One.******  ******Two.", "One.*****Two.", "A******B******C"],
    ),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "Name a bird. "},
        ["name a BIRD. A wren.", "Name a bird."],
        ["Name a fish.", "So: Name a bird."],
    ),
    "startend:end_checker": (
        {"end_phrase": "That is all."},
        ['"So that IS all."', "That is all. "],
        ["That is all!", "That is all.*"],
    ),
    "startend:quotation": ({}, ['"All of it."', '""'], ["“All of it.”", '"Half" of it.', '"']),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 3, "capital_relation": "at least"},
        ["I saw NASA-UN and a B.", "IT'S (A).", "A-1 B-2 (C)"],
        ["I saw NASA-Un and it.", "NASA-UN-EU or A"],
    ),
    "change_case:english_capital": (
        {},
        ["THE OLD FERRY BRINGS LETTERS TO THE SMALL ISLAND."],
        [
            "THE OLD FERRY BRINGS LETTERS TO THE SMALL ISLANd.",
            "СТАРИЯТ КОРАБ НОСИ ПИСМА ДО ОСТРОВА.",
        ],
    ),
    "change_case:english_lowercase": (
        {},
        ["the old ferry brings letters to the small island."],
        [
            "The old ferry brings letters to the small island.",
            "die alte fähre bringt briefe auf die kleine insel.",
        ],
    ),
    "punctuation:no_comma": ({}, ["None here; none."], ["One, here."]),
}


def read(kind: str, **changed: Any) -> Check:
    return constraint_from({"kind": kind, **CASES[kind][0], **changed})


def test_all_25_checks_of_ifeval_are_kinds_and_none_is_drawn_for_training() -> None:
    assert len(IFEVAL) == 25
    assert set(CASES) == set(IFEVAL)
    assert not set(IFEVAL) & set(KINDS)


@pytest.mark.parametrize("kind", sorted(IFEVAL))
def test_what_passes_and_what_nearly_does(kind: str) -> None:
    check, (_, passing, missing) = read(kind), CASES[kind]
    assert [response for response in passing if not check.check(response, "")] == []
    assert [response for response in missing if check.check(response, "")] == []
    assert not check.check(" \n", "")
    assert constraint_from(check.arguments()) == check


RELATIONS = {
    "keywords:frequency": ("relation", "a river", "river river"),
    "keywords:letter_frequency": ("let_relation", "a bear", "big bear"),
    "length_constraints:number_sentences": ("relation", "It rained.", "It rained. It stopped."),
    "length_constraints:number_words": ("relation", "one two three", "one two three four"),
    "change_case:capital_word_frequency": ("capital_relation", "A b C", "A B C"),
}


@pytest.mark.parametrize("kind", RELATIONS)
def test_less_than_and_at_least_divide_all_responses(kind: str) -> None:
    name, below, enough = RELATIONS[kind]
    less, least = (read(kind, **{name: relation}) for relation in ("less than", "at least"))
    assert [less.check(text, "") for text in (below, enough)] == [True, False]
    assert [least.check(text, "") for text in (below, enough)] == [False, True]


def test_a_keyword_is_a_regular_expression_as_in_ifeval() -> None:
    assert read("keywords:existence", keywords=["r.ver"]).check("rover", "")
    with pytest.raises(DataError, match="regular expression"):
        read("keywords:existence", keywords=["C++", "(", "*"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("keywords:existence", "keywords"),
        ("keywords:frequency", "keyword"),
        ("keywords:forbidden_words", "forbidden_words"),
        ("detectable_format:multiple_sections", "section_spliter"),
        ("detectable_content:postscript", "postscript_marker"),
    ],
)
def test_what_may_backtrack_is_told_from_plain_words(kind: str, name: str) -> None:
    several = isinstance(CASES[kind][0][name], list)
    for pattern, bounded in (("(a+)+$", False), ("a|b", False), ("a{2}", False), ("P.S. [ab]", True)):
        assert read(kind, **{name: ["plain", pattern] if several else pattern}).bounded is bounded
    assert read("punctuation:no_comma").bounded


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("keywords:frequency", {"frequency": 0}, "frequency"),
        ("keywords:frequency", {"relation": "at most"}, "relation"),
        ("keywords:letter_frequency", {"letter": "ab"}, "letter"),
        ("keywords:existence", {"keywords": []}, "keywords"),
        ("length_constraints:nth_paragraph_first_word", {"nth_paragraph": 3}, "above num_paragraphs 2"),
        ("punctuation:no_comma", {"loud": True}, "loud"),
    ],
)
def test_what_ifeval_would_draw_at_random_is_refused(kind: str, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=kind) as raised:
        read(kind, **changed)
    assert told in str(raised.value)


def test_a_mark_is_counted_where_ifeval_draws_a_letter() -> None:
    check = read("keywords:letter_frequency", letter="!", let_relation="at least")
    assert [check.check(text, "") for text in ("Oh!", "Oh! Ah!")] == [False, True]


def test_a_language_is_the_same_each_time_and_whatever_others_seed() -> None:
    from langdetect import DetectorFactory

    text = "ok no da la si"  # too short to tell: unseeded, several languages are found
    found = set()
    for DetectorFactory.seed in range(12):
        found.add(optional.language(text))
    DetectorFactory.seed = None
    assert len(found) == 1


@pytest.mark.parametrize(
    "kind", [kind for kind in IFEVAL if issubclass(IFEVAL[kind], optional.NeedsPackages)]
)
def test_a_missing_package_is_one_error_when_the_check_is_read(kind: str, monkeypatch: Any) -> None:
    optional._installed.cache_clear()
    monkeypatch.setattr(sys, "meta_path", [])
    for module in ("langdetect", "nltk", "punkt"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        with pytest.raises(MissingPackage, match=r"pip install 'gristmill\[ifeval\]'") as raised:
            read(kind)
        assert kind in str(raised.value)
    finally:
        optional._installed.cache_clear()


PIECES = st.sampled_from(
    [
        "*",
        "***",
        "******",
        "\n",
        "\n\n",
        "- ",
        "PART 1",
        "p.s.",
        '"',
        "<<",
        ">>",
        "[",
        "]",
        "```",
        ",",
        ". ",
        "today",
        "river",
        "A",
        "b",
        " ",
        "\u0345",
        "ß",
        "\ud800",
        "\x00",
    ]
)


@pytest.mark.parametrize("kind", sorted(IFEVAL))
@given(response=st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map("".join)))
@settings(max_examples=30, deadline=None)
def test_a_check_answers_on_any_text(kind: str, response: str) -> None:
    assert isinstance(read(kind).check(response, ""), bool)


@pytest.mark.parametrize("kind", sorted(IFEVAL))
@pytest.mark.parametrize(
    "hostile", ["\n" * 30_000, " " * 30_000, "*" * 30_000, "[" * 30_000, "<" * 30_000, '{"a":' * 30_000]
)
def test_a_check_is_quick_on_hostile_text(kind: str, hostile: str, cpu_seconds: Callable[..., float]) -> None:
    """IFEval's own expressions look from every bracket to the end of the text."""
    check = read(kind)
    assert cpu_seconds(lambda: check.check("x" + hostile + "x", "")) < 2.0
