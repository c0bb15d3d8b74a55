from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.document import MAX_DEPTH, Document, SourcePosition, field_of, parse, read


def messages(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


def test_every_key_and_value_knows_its_place() -> None:
    document = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yaml")
    assert document.value == {"a": 1, "b": ["x", {"c": 2}]}
    assert document.mark(("b", 1, "c")) == SourcePosition("f.yaml", 4, 9)
    assert document.mark(("b", 1, "c"), key=True) == SourcePosition("f.yaml", 4, 6)
    assert document.mark(("b", 1, "missing")) == SourcePosition("f.yaml", 4, 5)
    assert field_of(("b", 1, "c")) == "b[1].c"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("true", True),
        ("1e-4", 1e-4),
        ("2.5", 2.5),
        (".5", 0.5),
        ("400_000", 400_000),
        ("-3", -3),
        ("0x1f", 31),
        ("007", "007"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("'1'", "1"),
        ("1_000.5", 1000.5),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}", "f").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_whole_number_is_a_key_as_it_is_written() -> None:
    document = parse("levels: {1: wrong, 5: right, 007: secret, -1: odd}", "f")
    assert document.value == {"levels": {"1": "wrong", "5": "right", "007": "secret", "-1": "odd"}}
    assert not document.problems


def test_a_key_given_twice_names_both_lines() -> None:
    assert messages(parse("a: 1\nb: 2\na: 3\n", "f")) == [
        "f:3:1: a: is given twice; found it on line 1 already: remove one"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system [x]", "f:1:4: a: tags are not allowed"),
        ("a: !!binary aGk=", "f:1:4: a: tags are not allowed"),
        ("1.5: x", 'f:1:1: 1.5: keys must be text or whole numbers; found 1.5; write "1.5" in quotes'),
        ("? [a]\n: x", "keys must be text or whole numbers; found a collection"),
        ('1: x\n"1": y', "f:2:1: 1: is given twice; found it on line 1 already: remove one"),
        ("a: &a [*a]", "an alias that contains itself"),
        ("x: &x {<<: *x}", "an alias that contains itself"),
        ("s: &s {rows: 1, <<: [*s]}", "an alias that contains itself"),
        ("a: {<<: 3}", "a merge key (<<) takes a mapping"),
        ("a: !!int x", "cannot be read as int: found 'x'"),
        ("a: !!int ''", "cannot be read as int: found ''"),
    ],
)
def test_what_is_not_allowed_is_noted(text: str, said: str) -> None:
    (message,) = messages(parse(text, "f"))
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "f:2:1: is not valid YAML"),
        ("a: 1\n--- \nb: 2", "is not valid YAML"),
        ("a: \x07", "is not valid YAML"),
        ("[" * (MAX_DEPTH + 1), f"f:1:{MAX_DEPTH + 1}: is nested deeper than"),
        ("[" * 200_000, "is nested deeper than"),
        ("a: *b", "is not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=r"^f:\d+:\d+: ") as refused:
        parse(text, "f")
    assert said in str(refused.value)


def test_aliases_that_multiply_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (message,) = messages(parse("\n".join(lines), "bomb"))
    assert "after aliases are expanded" in message


def test_merge_keys_fill_in_what_is_not_given() -> None:
    document = parse("base: &b {x: 1, y: 2}\nstep: {<<: *b, y: 3}\n", "f")
    assert document.value["step"] == {"x": 1, "y": 3}
    assert not document.problems


def test_unreadable_files_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        read(tmp_path / "binary.yaml")


def test_a_mistake_silences_what_follows_from_it() -> None:
    document = parse("a: {b: 1}", "f")
    document.blame(("a",), "first")
    document.blame(("a", "b"), "follows")
    assert messages(document) == ["f:1:4: a: first"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(codec="ascii")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<_", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1), plain, max_size=4))
def test_json_reads_as_itself(value: dict[str, object]) -> None:
    document = parse(json.dumps(value), "f")
    assert document.value == value
    assert not document.problems
