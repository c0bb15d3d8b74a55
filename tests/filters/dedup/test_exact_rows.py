"""Exact duplicates over columns, batches and partitions are those that `same_text` names."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.contracts import stored_rows
from gristmill.contracts.stored_rows import ROW, TableRows
from gristmill.filters.columns import without_nan
from gristmill.filters.dedup.code_signs import are_code, other_word
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.first_occurrence import copies, key_table
from gristmill.filters.dedup.folded_text import text_digests
from gristmill.filters.dedup.same_text import Normalize, looks_like_code, text_key, value_key


class Unhurried:
    """A context that never stops."""

    def check(self) -> None:
        return


def judged(table: pa.Table, memory: int | None = None, **parameters: Any) -> list[int]:
    """The number of the row that each row duplicates, or -1."""
    result = ExactDedup(**parameters).judge(TableRows(table, memory=memory), Unhurried())
    assert result.kept.tolist() == [of < 0 for of in result.duplicate_of.tolist()]
    return result.duplicate_of.tolist()


def expected(table: pa.Table, normalize: Normalize = "auto", strip: bool = False) -> list[int]:
    """The same by a dictionary of the keys of `same_text`."""
    key = text_key(normalize, strip)
    seen: dict[object, int] = {}
    found = []
    for row, record in enumerate(without_nan(table).to_pylist()):
        values = tuple(value_key(value, key) for value in record.values())
        nothing = all(value is None for value in values)
        first = row if nothing else seen.setdefault(values, row)
        found.append(-1 if first == row else first)
    return found


characters = st.sampled_from(
    [*"aAbBiIıİfFxß\u0301éÉσςΣﬁ①０Å\u212b語한ᄒ“”’،", *" \t\n\r\v\x1c\x85\xa0\u2028\u3000\u180e\u200b"]
)
signs = st.sampled_from(
    [
        *"\0.,;:()[]{}=#'\"?!-_1 5",
        " if ",
        "in ",
        "a b",
        "it's",
        "f'",
        ".py 5",
        "1.j",
        "return",
        "\n  x",
        ";\n",
        "Name",
        "is not",
    ]
)
texts = st.lists(st.one_of(characters, signs), max_size=8).map("".join)


@settings(max_examples=150)
@given(
    values=st.lists(texts, max_size=12), normalize=st.sampled_from(get_args(Normalize)), strip=st.booleans()
)
@example(
    values=["a\n \x1c", "x;\x1c", "x;\x85 ", "é[", "é (", "\n  é", "1if x else y", "a 'b c'", "a.\n"],
    normalize="auto",
    strip=False,
)
@example(values=["y", " x", "x"], normalize="prose", strip=False)
@example(values=["ﬁ①", "FI1"], normalize="prose", strip=False)
@example(values=["x = 1\n\n", "x = 1"], normalize="code", strip=False)
def test_texts_have_equal_digests_where_their_keys_are_equal(
    values: list[str], normalize: Normalize, strip: bool
) -> None:
    key = text_key(normalize, strip)
    digests = [
        tuple(row) for row in text_digests(pa.array(values, pa.large_string()), normalize, strip).tolist()
    ]
    keys = [key(value) for value in values]
    for one, digest in zip(keys, digests):
        assert [other == one for other in keys] == [other == digest for other in digests]


@settings(max_examples=200)
@given(values=st.lists(texts, max_size=12))
@example(values=["x in y", "See the é[1] there."])
@example(
    values=["f'x'", "Rb'x', y", "it's", "x.y 5", "1.jif x else y", "a/b.py 5", "a:b 5", "1.j if x else y"]
)
@example(values=["x if 5 else y", "éif'x'", "print 5", "is'x'", "x is'x'", "0xfor 5", "x\n it's", "match 5"])
def test_code_is_found_in_a_column_as_in_a_text(values: list[str]) -> None:
    assert are_code(pa.array(values, pa.large_string())).tolist() == [
        looks_like_code(each) for each in values
    ]


def test_most_texts_are_told_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.filters.dedup.code_signs.looks_like_code", lambda text: pytest.fail(text))
    prose = [
        "Write a poem about the sea",
        "What is the capital of France?",
        "Is it so? It's",
        "He is, in short, right.",
    ]
    code = ["x = 1", "f(x)", "if x:\n    y()"]
    assert are_code(pa.array(prose + code, pa.large_string())).tolist() == [False] * 4 + [True] * 3


@given(word=st.text("abcdefinorst_1", min_size=1, max_size=6))
@example(word="if")
@example(word="iff")
@example(word="i")
def test_another_word_is_any_name_but_the_given_ones(word: str) -> None:
    words = ["if", "in", "is", "import", "for", "a"]
    match = pa.compute.match_substring_regex(pa.array([word]), rf"\A{other_word(words)}\z")[0].as_py()
    assert match == (word not in words and not word[0].isdigit())


COLUMNS = [
    pa.array([1, 1, 2, None, None, -1], pa.int32()),
    pa.array([0.0, -0.0, math.nan, None, 1.5, math.inf], pa.float32()),
    pa.array([2**63, 2**63 + 1, 0, 2**63, None, 0], pa.uint64()),
    pa.array([True, False, True, None, None, False]),
    pa.array([b"a", b"", b"\0", b"a", None, b""], pa.binary()),
    pa.array([decimal.Decimal("1.10"), decimal.Decimal("1.1"), decimal.Decimal("2.00"), None, None, None]),
    pa.array([datetime.datetime(2026, 1, day) for day in (1, 2, 1, 3, 3, 4)], pa.timestamp("us", "UTC")),
    pa.array([datetime.date(2026, 1, day) for day in (1, 2, 1, 3, 3, 4)]),
    pa.array([datetime.timedelta(day) for day in (1, 2, 1, 3, 3, 4)]),
    pa.array(["a", "A ", None, "b", "a", ""]).dictionary_encode(),
    pa.array(["a", "A ", None, "b", "a", ""], pa.string_view()),
    pa.array([["a", "b"], ["A", " b"], ["b", "a"], [], None, ["a", None]]),
    pa.array([[1, 2], [1, 2], [2, 1], [0, 0], None, [0, 0]], pa.list_(pa.int8(), 2)),
    pa.array([[["a"], []], [[], ["a"]], [["A"], []], [["a", "a"]], [[None], ["a"]], [[], ["a"]]]),
    pa.array(
        [
            {"x": 1, "y": "a"},
            {"x": 1, "y": "A"},
            {"x": None, "y": "a"},
            {"x": None, "y": None},
            None,
            {"y": "a"},
        ]
    ),
    pa.array([[("k", 1)], [("k", 1)], [("k", None)], [], None, [("l", 1)]], pa.map_(pa.string(), pa.int64())),
    pa.array([[math.nan], [None], [0.0], [-0.0], [], None], pa.list_(pa.float64())),
    pa.nulls(6),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_values_of_every_type_are_compared(column: pa.Array) -> None:
    table = pa.table({"n": pa.chunked_array([column, column.slice(1, 4)])})
    plain = table if not pa.types.is_dictionary(column.type) else table.cast(pa.schema({"n": pa.string()}))
    assert judged(table.append_column("_id", pa.nulls(10, pa.string())), columns=["n"]) == expected(plain)


values = st.one_of(st.none(), st.sampled_from(["a", "A", "b", "x = 1", "1", ""]))
turns = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(-1, 1, width=16), values),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(rows=st.lists(turns, max_size=8))
def test_turns_as_json_are_compared_value_by_value(rows: list[Any]) -> None:
    table = pa.table({"messages": pa.array(map(json.dumps, rows), pa.string())})
    parsed = [value_key(json.loads(json.dumps(each)), text_key("auto")) for each in rows]
    assert judged(table) == [
        -1 if (first := parsed.index(each)) == row else first for row, each in enumerate(parsed)
    ]


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 600 + "]" * 600, '"\\ud800"', "[NaN]", "{", "\0"])
def test_odd_json_is_a_text_like_any_other(text: str) -> None:
    assert judged(pa.table({"messages": [text, "x", text]})) == [-1, -1, 0]


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(values, values), max_size=12),
    batch=st.integers(1, 5),
    memory=st.sampled_from([None, 0, 10**9]),
)
def test_neither_batches_nor_partitions_matter(
    rows: list[tuple[str | None, str | None]], batch: int, memory: int | None
) -> None:
    prompts, responses = ([row[side] for row in rows] for side in range(2))
    table = pa.table({"prompt": pa.array(prompts, pa.string()), "response": pa.array(responses, pa.string())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BATCH_ROWS", batch)
        assert judged(table, memory) == expected(table)


@given(st.lists(st.sampled_from(["a", "A", "b ", "c=1", None]), max_size=10), st.randoms())
def test_another_order_keeps_the_same_texts(texts: list[str | None], chance: Any) -> None:
    def kept(order: list[int]) -> list[object]:
        values = [texts[place] for place in order]
        table = pa.table({"response": pa.array(values, pa.string())})
        key = text_key("auto")
        found = [
            value and key(value) for value, of in zip(values, judged(table, columns=["response"])) if of < 0
        ]
        return sorted(found, key=repr)

    order = list(range(len(texts)))
    chance.shuffle(order)
    assert kept(order) == kept(sorted(order))


def test_a_half_of_a_key_does_not_decide() -> None:
    high, low = [5, 5, 5, 7, 5], [1, 2, 1, 1, 2]
    keys = key_table(pa.array([2, 3, 5, 8, 9]), np.array([high, low], np.uint64).T)
    for memory in (None, 0):
        rows, first = copies(TableRows(keys, numbered=True, memory=memory), "copies")
        assert (rows.tolist(), first.tolist()) == ([5, 9], [2, 3])
    assert keys.column_names[0] == ROW


def test_keys_that_exceed_the_memory_are_compared_in_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped: list[int] = []
    group = TableRows.group

    def counted(rows: TableRows, *arguments: Any, **named: Any) -> Any:
        grouped.append(rows.num_rows)
        return group(rows, *arguments, **named)

    monkeypatch.setattr(TableRows, "group", counted)
    table = pa.table({"response": ["a", None, "A"] * 100})
    for memory, times in ((None, 0), (64 * 200 * 2, 0), (64 * 200 * 2 - 2, 1)):
        grouped.clear()
        assert (
            judged(table, memory, columns=["response"])
            == [-1, -1, *[0, -1, 0] * 100][:1] + [-1, 0] + [0, -1, 0] * 99
        )
        assert grouped == [200] * times
