"""JSON Lines: typed rows for all values, and one clear error for an invalid line."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import Jsonl


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def read(source: Jsonl, context: Any) -> pa.Table:
    return pa.Table.from_batches(list(source.read(context)))


def test_rows_keep_their_order_values_and_types(tmp_path: Path, context: Any) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"text": "one", "n": 1, "score": 1, "ok": true, "tags": ["x"]}',
        "",
        '{"text": null, "n": 2, "score": 0.5, "ok": false, "tags": []}',
        '{"n": 3, "new": {"a": [1]}}',
    )
    table = read(Jsonl(path=path), context)
    assert table.schema.names == ["text", "n", "score", "ok", "tags", "new"]
    assert [str(kind) for kind in table.schema.types][:4] == ["string", "int64", "double", "bool"]
    assert table["tags"].to_pylist() == [["x"], [], None]
    assert table["new"].to_pylist() == [None, None, {"a": [1]}]
    assert table["text"].to_pylist() == ["one", None, None]


def test_a_column_whose_shape_varies_becomes_json_text(tmp_path: Path, context: Any) -> None:
    values: list[Any] = [[{}, {"n": 3}], [{"relation": "at least", "n": 3}], None]
    path = write(tmp_path / "a.jsonl", *[json.dumps({"kwargs": value}) for value in values])
    column = read(Jsonl(path=path), context)["kwargs"]
    assert column.type == pa.string()
    assert [None if text is None else json.loads(text) for text in column.to_pylist()] == values


def test_a_scalar_of_two_kinds_is_refused_with_both_lines_and_the_way_out(
    tmp_path: Path, context: Any
) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": null}', '{"id": 7}', '{"id": "seven"}')
    with pytest.raises(
        DataError, match=r"a\.jsonl:3: column 'id' holds a string here, and a whole number before.*:2 on"
    ):
        read(Jsonl(path=path), context)
    table = read(Jsonl(path=path, as_json=("id",)), context)
    assert table["id"].to_pylist() == [None, "7", '"seven"']


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": ', r"a\.jsonl:2: not JSON"),
        ("[1, 2]", r"a\.jsonl:2: a row is a JSON object, found '\[1, 2\]'"),
        ('{"a": NaN}', r"a\.jsonl:2: not JSON \(NaN is not a JSON value"),
        ('{"a": 99999999999999999999}', r"a\.jsonl:2: .*does not fit in 64 bits"),
        (
            '{"a": 18446744073709551616}',
            r"a\.jsonl:2: column 'a' holds 18446744073709551616, a whole number that does not fit in "
            r"64 bits: write it as "
            r"a string, or read it as JSON text with `as_json: \[a\]`$",
        ),
        (
            '{"a": [' + "9" * 100 + "]}",
            r"a\.jsonl:2: column 'a' holds a whole number that does not fit in 64 bits: write",
        ),
        (
            '{"a": ' + "9" * 5000 + "}",
            r"a\.jsonl:2: the number 9{20}… has 5,000 digits; write it as a string$",
        ),
        (
            '{"a": -' + "9" * 5000 + "}",
            r"a\.jsonl:2: the number -9{19}… has 5,000 digits; write it as a string$",
        ),
        ('{"a": "\\ud800"}', r"a\.jsonl:2: a lone surrogate"),
        ("[" * 200_000, r"a\.jsonl:2: nested too deeply"),
        ('{"a": 1e999}', r"a\.jsonl:2: the number 1e999 is too large; write it as a string"),
        ('{"a": 1, "b": 2, "a": 3}', r"a\.jsonl:2: the key 'a' occurs twice in one object; keep one"),
        ('{"a": {"b": [{"c": 1, "c": 1}]}}', r"a\.jsonl:2: the key 'c' occurs twice in one object"),
        ('{"a": 1, "\\u0061": 2}', r"a\.jsonl:2: the key 'a' occurs twice in one object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, context: Any, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": null}', line)
    with pytest.raises(DataError, match=message):
        read(Jsonl(path=path), context)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1},\n{"a": 2}', r"a\.jsonl:1: not JSON \(Extra data at character 9\): .*; remove the comma"),
        ('{"a": 1}\n{"a": 2,}', r"a\.jsonl:2: .* at character 9\): .*; remove the comma before '\}'$"),
        ('{"a": [2,]}', r"a\.jsonl:1: .*; remove the comma before '\]'$"),
        ('{"a": 1}{"a": 2}', r"a\.jsonl:1: .*; write one object per line$"),
        ('{"a": 1}\r{"a": 2}', r"a\.jsonl:1: .*; write one object per line$"),
        ("{'a': 1}", r"a\.jsonl:1: .*; it is Python's notation: write rows with json\.dumps$"),
        ('{"a": [1, None]}', r"a\.jsonl:1: .*; it is Python's notation"),
        ('{"a": "x", "b": True}', r"a\.jsonl:1: .*; it is Python's notation"),
        ('{\n  "a": 1\n}', r"a\.jsonl:1: .*; an array, or objects over .* named \.json: rename it$"),
        ('[\n  {"a": 1}\n]', r"a\.jsonl:1: .*; an array, or objects over .* named \.json: rename it$"),
        ('{"a": 1}\n# b', r"a\.jsonl:2: .*'# b'; fix or remove it$"),
    ],
)  # fmt: skip
def test_a_usual_mistake_is_told_with_its_fix(tmp_path: Path, context: Any, text: str, said: str) -> None:
    path = write(tmp_path / "a.jsonl", text)
    for look in (lambda: read(Jsonl(path=path), context), Jsonl(path=path).file_schema):
        with pytest.raises(DataError, match=said):
            look()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("text", ['{"a": 1}', '[{"a": 1}]', '[\n{"a": "é"}]'])
def test_another_encoding_is_named(tmp_path: Path, context: Any, encoding: str, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=rf"{name}:1: UTF-16 or UTF-32, and JSON is UTF-8: save it as UTF-8"):
        read(Jsonl(path=str(tmp_path / name)), context)


@pytest.mark.parametrize("line", ['{"a": NaN}', '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}"])
def test_what_a_run_refuses_a_plan_refuses(tmp_path: Path, context: Any, line: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": null}', line)
    with pytest.raises(DataError) as run:
        read(Jsonl(path=path), context)
    with pytest.raises(DataError) as plan:
        Jsonl(path=path).file_schema()
    assert str(plan.value) == str(run.value)


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: not UTF-8 \(byte 8"):
        read(Jsonl(path=str(tmp_path / "a.jsonl")), context)


def test_compressed_files_and_a_glob_read_in_the_order_of_their_names(tmp_path: Path, context: Any) -> None:
    write(tmp_path / "a.jsonl", '{"n": 1}')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"n": 2}\n{"n": 3}\n'))
    with pa.CompressedOutputStream(str(tmp_path / "c.jsonl.zst"), "zstd") as stream:
        stream.write(b'{"n": 4}\n' * 3)
    for path in (str(tmp_path), str(tmp_path / "*.jsonl*")):
        assert read(Jsonl(path=path), context)["n"].to_pylist() == [1, 2, 3, 4, 4, 4]
    assert Jsonl(path=str(tmp_path)).estimate(0).rows == 6


def test_a_truncated_gzip_is_an_error_of_ours(tmp_path: Path, context: Any) -> None:
    whole = gzip.compress(b"".join(b'{"n": %d}\n' % n for n in range(5000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is it complete"):
        read(Jsonl(path=str(tmp_path / "a.jsonl.gz")), context)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:50] + zlib.compress(b"x") + whole[60:])
    with pytest.raises(DataError, match="is it complete"):
        read(Jsonl(path=str(tmp_path / "a.jsonl.gz")), context)


def test_a_url_is_read_and_its_digest_follows_its_content(context: Any) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/seeds/a.jsonl", b'{"n": 1}\n')
    source = Jsonl(path="memory://seeds/a.jsonl")
    assert read(source, context)["n"].to_pylist() == [1]
    before = source.content()
    assert list(before) == ["memory:///seeds/a.jsonl"]
    memory.pipe("/seeds/a.jsonl", b'{"n": 2}\n')
    assert source.content() != before


def test_a_folder_without_such_files_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "rows.json", '{"n": 1}')
    with pytest.raises(
        DataError, match=r"no file in this folder ends with \.jsonl, .*; it holds rows\.json: .*/\*\.json$"
    ):
        Jsonl(path=str(tmp_path)).content()


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"n": 1}')
    before = Jsonl(path=path).content()
    write(tmp_path / "a.jsonl", '{"n": 2}')
    after = Jsonl(path=path).content()
    assert before.keys() == after.keys()
    assert before != after
    write(tmp_path / "a.jsonl", '{"n": 1}')
    assert Jsonl(path=path).content() == before


def test_rows_limit_stops_before_a_bad_line(tmp_path: Path, context: Any) -> None:
    path = write(tmp_path / "a.jsonl", '{"n": 1}', '{"n": 2}', "broken")
    assert read(Jsonl(path=path, rows=2), context).num_rows == 2


def test_columns_are_renamed_chosen_and_checked(tmp_path: Path, context: Any) -> None:
    path = write(tmp_path / "a.jsonl", '{"instruction": "x", "_id": 7, "output": "y"}')
    table = read(Jsonl(path=path, rename={"instruction": "prompt"}, columns=("prompt",)), context)
    assert table.to_pylist() == [{"prompt": "x"}]
    with pytest.raises(DataError, match=r"column '_id'.*rename: \{_id: id\}"):
        read(Jsonl(path=path), context)
    with pytest.raises(DataError, match="no column 'instructoin'; did you mean 'instruction'"):
        read(Jsonl(path=path, format="as_is", rename={"instructoin": "prompt"}), context)
    with pytest.raises(DataError, match="two columns are called 'output'"):
        read(Jsonl(path=path, rename={"instruction": "output"}), context)


def test_a_missing_file_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file"):
        Jsonl(path=str(tmp_path / "nothing.jsonl")).content()
    with pytest.raises(DataError, match="nosuchprotocol"):
        Jsonl(path="nosuchprotocol://x/y.jsonl").content()


nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.lists(nested, max_size=3), min_size=1, max_size=5))
def test_nested_values_come_back_whatever_their_shape(
    tmp_path: Path, context: Any, values: list[Any]
) -> None:
    path = write(tmp_path / "a.jsonl", *[json.dumps({"v": value}) for value in values])
    column = read(Jsonl(path=path), context)["v"]
    got = column.to_pylist()
    assert [json.loads(v) for v in got] == values if column.type == pa.string() else got == values


@pytest.mark.parametrize("first_is_large", [True, False])
def test_whole_numbers_that_a_column_of_floats_would_round_are_refused(
    tmp_path: Path, context: Any, first_is_large: bool
) -> None:
    lines = ['{"n": 1, "x": 0}', f'{{"n": {2**60 + 1}, "x": 1}}', '{"n": 0.5, "x": 2}']
    if not first_is_large:
        lines[1:] = reversed(lines[1:])
    path = write(tmp_path / "a.jsonl", *lines)
    large, fraction = r"a whole number beyond 2\*\*53 \(a float would round it\)", "a number with a fraction"
    here, before = (fraction, large) if first_is_large else (large, fraction)
    with pytest.raises(
        DataError, match=rf"a\.jsonl:3: column 'n' holds {here} here, and {before} before .*as_json: \[n\]"
    ):
        read(Jsonl(path=path), context)
    assert sorted(read(Jsonl(path=path, as_json=("n",)), context)["n"].to_pylist()) == [
        "0.5",
        "1",
        str(2**60 + 1),
    ]


def test_numbers_are_kept_exactly_where_they_can_be(tmp_path: Path, context: Any) -> None:
    whole = [2**63 - 1, 2**53 + 1, 3, -(2**63)]
    path = write(tmp_path / "a.jsonl", *[json.dumps({"n": each}) for each in whole])
    assert read(Jsonl(path=path), context)["n"].to_pylist() == whole
    mixed = [0.5, 2**53, -(2**53), 7]
    path = write(tmp_path / "a.jsonl", *[json.dumps({"n": each}) for each in mixed])
    column = read(Jsonl(path=path), context)["n"]
    assert (column.type, column.to_pylist()) == (pa.float64(), mixed)
    # Within a list they may differ: then the column is JSON text.
    path = write(tmp_path / "a.jsonl", json.dumps({"n": [2**60 + 1]}), json.dumps({"n": [0.5]}))
    assert read(Jsonl(path=path), context)["n"].to_pylist() == [f"[{2**60 + 1}]", "[0.5]"]


CONFLICTS: list[tuple[str, str, str]] = [
    ("1", '"a"', "a string here, and a whole number before"),
    ("0.5", "true", "true or false here, and a number with a fraction before"),
    ('"a"', "[1]", "a list here, and a string before"),
    ("{}", "1", "a whole number here, and a list or an object before"),
    ("true", "1", "a whole number here, and true or false before"),
]


@pytest.mark.parametrize(("first", "second", "message"), CONFLICTS)
def test_every_conflict_of_types_names_file_line_and_column(
    tmp_path: Path, context: Any, first: str, second: str, message: str
) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"v": {first}}}', '{"v": null}', f'{{"v": {second}}}')
    with pytest.raises(DataError, match=rf"a\.jsonl:3: column 'v' holds {message} \(from .*a\.jsonl:1 on\)"):
        read(Jsonl(path=path), context)


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_counting_the_lines_of_a_damaged_file_is_an_error_of_ours(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl.{ending}"
    data = b"".join(b'{"n": %d}\n' % n for n in range(5000))
    whole = gzip.compress(data) if ending == "gz" else pa.compress(data, "zstd", asbytes=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.\w+: cannot be read further: .*is it complete"):
        Jsonl(path=str(path)).estimate(0)


def test_an_empty_list_of_paths_has_no_rows_and_the_columns_asked_for(context: Any) -> None:
    source = Jsonl(path=(), columns=("text",))
    [batch] = source.read(context)
    assert (batch.num_rows, batch.schema) == (0, pa.schema([("text", pa.string())]))
    assert (source.content(), source.estimate(0).rows) == ({}, 0)
    assert list(Jsonl(path=()).read(context)) == []


def test_a_file_without_rows_has_the_columns_asked_for(tmp_path: Path, context: Any) -> None:
    path = write(tmp_path / "a.jsonl", "", "")
    assert list(Jsonl(path=path).read(context)) == []
    [batch] = Jsonl(path=path, columns=("a", "b")).read(context)
    assert (batch.num_rows, batch.schema.names) == (0, ["a", "b"])


def test_rows_without_a_column_are_not_dropped_in_silence(tmp_path: Path, context: Any) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: its only object is empty"):
        read(Jsonl(path=write(tmp_path / "a.jsonl", "{}")), context)
    with pytest.raises(DataError, match=r"a\.jsonl: its 2 objects are all empty"):
        read(Jsonl(path=write(tmp_path / "a.jsonl", "{}", "{}")), context)


def test_packaged_seeds_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Jsonl(path="gristmill:seeds/instructions.jsonl")
    assert read(source, context).num_rows == source.count_rows() >= 10
    assert list(source.content()) == ["gristmill:seeds/instructions.jsonl"]
    assert len(Jsonl(path="gristmill:seeds").content()) >= 3
    with pytest.raises(DataError, match=r"there are .*gristmill:seeds/instructions\.jsonl"):
        Jsonl(path="gristmill:seeds/instruction.jsonl").content()
