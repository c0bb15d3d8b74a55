"""The compiled digests of many texts, against the reference of MurmurHash3."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup import compiled_digest
from gristmill.filters.dedup.first_occurrence import copies, key_table
from gristmill.filters.dedup.folded_text import text_digests
from gristmill.filters.dedup.same_text import normalize_code, normalize_prose
from gristmill.filters.dedup.text_digest import Texts, digest, digest_code, digest_folded
from gristmill.filters.dedup.value_digest import digests_of_bytes

#: By mmh3 5.3.1 (`mmh3.hash64(text, 1, signed=False)`).
MURMUR3 = {
    b"": (5048724184180415669, 5864299874987029891),
    b"fox": (13614950076198156420, 2060023629327852521),
    b"0123456789abcdef": (18302353421483555649, 1352777032244046566),
    b"The quick brown fox jumps over the lazy dog": (16515639287800258878, 7087013955258284576),
}


def test_digests_are_those_of_murmurhash3() -> None:
    assert [tuple(each) for each in digests_of_bytes(list(MURMUR3)).tolist()] == list(MURMUR3.values())


def test_no_length_is_like_another() -> None:
    texts = [b"\0" * length for length in range(70)]
    assert len(np.unique(digests_of_bytes(texts), axis=0)) == len(texts)


@given(st.lists(st.text("aA \n\x1c\x7f-Zz@[", max_size=40), max_size=5))
def test_ascii_is_folded_as_prose_is(texts: list[str]) -> None:
    found, are_ascii = digest_folded(Texts.of(pa.array(texts, pa.large_string())))
    folded = [normalize_prose(text) for text in texts]
    np.testing.assert_array_equal(found, digest(Texts.of(pa.array(folded, pa.large_string()))))
    assert are_ascii.all()


@given(st.lists(st.text("a \t\n\r\x0b\x1c\x7f", max_size=20), max_size=5))
@example(["a\r\n\r\nb", "a\n\r\r b", " \n  a \n", "\r", "a\x1c\r \x0c"])
def test_ascii_is_folded_as_code_is(texts: list[str]) -> None:
    found, are_ascii = digest_code(Texts.of(pa.array(texts, pa.large_string())))
    folded = [normalize_code(text) for text in texts]
    np.testing.assert_array_equal(found, digest(Texts.of(pa.array(folded, pa.large_string()))))
    assert are_ascii.all()


def test_texts_that_are_not_ascii_are_named() -> None:
    texts = Texts.of(
        pa.array(["a", "é", "", "\x7f", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x80"], pa.large_string())
    )
    assert digest_folded(texts)[1].tolist() == digest_code(texts)[1].tolist()
    assert digest_folded(texts)[1].tolist() == [True, False, True, True, False]


def test_a_text_may_contain_what_separates_texts() -> None:
    texts = pa.array(["É\0é", "É", "é"], pa.large_string())
    found = text_digests(texts, "prose", False)
    assert found[1].tolist() == found[2].tolist() != found[0].tolist()


def test_loops_are_compiled_once_for_arrays_of_every_origin() -> None:
    texts = pa.array(["Ab c", "É"], pa.large_string())
    for source in (
        texts,
        pa.compute.utf8_lower(texts),
        texts.slice(1),
        texts.filter(pa.array([True, False])),
    ):
        digest(Texts.of(source))
        digest_folded(Texts.of(source))
        digest_code(Texts.of(source))
        digest_folded(Texts.separated(b"a\0b"))
    digests_of_bytes([b"a", b""])
    loops = (compiled_digest.digest, compiled_digest.digest_folded, compiled_digest.digest_code)
    assert [len(each.signatures) for each in loops] == [1, 1, 1]


keys = st.tuples(
    st.sampled_from([-(2**63), -1, 0, 1, 2, 2**62, 2**63 - 1]), st.sampled_from([-1, 0, 1, 2**63 - 1])
)


@given(st.lists(keys, max_size=20))
def test_the_first_row_with_a_key_is_found(found: list[tuple[int, int]]) -> None:
    halves = np.array(found, np.int64).reshape(-1, 2)
    table = key_table(pa.chunked_array([pa.array(range(len(found)), pa.int64())]), halves.view(np.uint64))
    rows, first = copies(TableRows(table, numbered=True), "copies")
    expected = [(row, found.index(key)) for row, key in enumerate(found) if found.index(key) < row]
    assert list(zip(rows.tolist(), first.tolist())) == expected
