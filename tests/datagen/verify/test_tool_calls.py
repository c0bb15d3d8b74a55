"""Calls of tools: whether they fit the schemas that were offered, and what the tools really give."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import Failed
from gristmill.datagen.verify.tool_calls import VerifyToolCalls

from .called_tools import Call, called, judged, turns
from .offered_tools import CODE, ODD, tool


@pytest.mark.parametrize(
    ("call", "verdict", "reason"),
    [
        (("add", {"a": 1}), "passed", None),
        (("add", {"a": 1, "b": 2}), "passed", None),
        (("add", '{"a": 1'), "not_json", "add: the arguments are not JSON: Expecting"),
        (("add", '{"a": 1, "a": 2}'), "not_json", "add: the arguments are not JSON: a key is repeated"),
        (("add", '{"a": NaN}'), "not_json", "add: the arguments are not JSON: NaN is no JSON value"),
        (("add", "[" * 100_000), "not_json", "add: the arguments are not JSON"),
        (("add", "[1]"), "arguments", "add: $: [1] is not of type 'object'"),
        (("add", "null"), "arguments", "add: $: None is not of type 'object'"),
        (("add", {}), "arguments", "add: $: 'a' is a required property"),
        (("add", {"a": "one"}), "arguments", "add: $.a: 'one' is not of type 'integer'"),
        (("add", {"a": True}), "arguments", "add: $.a: True is not of type 'integer'"),
        (("add", {"a": 1, "c": 2}), "arguments", "add: $: there is no argument 'c'"),
        (("add", {"a": "x", "c": 2}), "arguments", "add: $.a: 'x' is not of type 'integer'"),
        (("sub", {"a": 1}), "unknown_tool", "sub: there is no tool 'sub'; offered: add, "),
        (("__import__", {"name": "os"}), "unknown_tool", "__import__: there is no tool '__import__'"),
        (("", {}), "unknown_tool", ": there is no tool ''"),
    ],
)
def test_calls_must_fit_the_schemas(call: Call, verdict: str, reason: str | None) -> None:
    row = judged(VerifyToolCalls(), messages=turns(call)).row
    assert (row["passed"], row["verdict"]) == (reason is None, verdict)
    assert (row["reason"] or "").startswith(reason or "")
    assert row["results"] is None
    assert "messages" not in row


@pytest.mark.parametrize(
    ("call", "verdict", "told"),
    [
        (("add", {"a": 1, "b": 2}), "passed", "3"),
        (("text", {}), "passed", "äö 12"),
        (("table", {}), "passed", '[{"a": 1, "b": null}]'),
        (("waits", {}), "passed", "waited"),
        ((ODD, {"place": "Ulm"}), "passed", "12 in Ulm"),
        (("prints", {}), "passed", "quiet"),
        (("huge", {"size": 4000}), "passed", "y" * 4000),
        (("huge", {"size": 4001}), "too_long", "Error: the result has 4,001 characters"),
        (("huge", {}), "too_long", "Error: the result has 10,000,000 characters"),
        (("fails", {}), "failed", "Error: ValueError: no such place: Ulmm"),
        (("ends", {}), "failed", "Error: SystemExit: bye"),
        (("nothing", {}), "no_result", "Error: no result"),
        (("unordered", {}), "no_result", "Error: the result is neither text nor JSON: TypeError"),
        (("infinite", {}), "no_result", "Error: the result is neither text nor JSON: ValueError"),
        (("leaves", {}), "failed", "Error: the tool ended its process"),
        (("eats", {}), "failed", "Error: MemoryError"),
    ],
)
def test_tools_are_called(call: Call, verdict: str, told: str, file: str) -> None:
    row = called(file, call)
    assert (row["passed"], row["verdict"]) == (verdict == "passed", verdict)
    [result] = row["results"]
    assert result.startswith(told)
    *_, turn = row["messages"]
    assert turn.pop("content") == result
    marked = {} if row["passed"] else {"is_error": True}
    assert turn == {"role": "tool", "name": call[0], "tool_call_id": "c0", **marked}
    assert row["reason"] == (None if row["passed"] else f"{call[0]}: {result.removeprefix('Error: ')}")


def test_a_tool_that_hangs_is_stopped(file: str) -> None:
    begun = time.monotonic()
    limits = {"cpu_seconds": 1, "wall_seconds": 30}
    row = called(file, ("text", {}), ("hangs", {}), ("add", {"a": 1}), sandbox=limits)
    assert time.monotonic() - begun < 60
    assert row["verdict"] == "timeout"
    assert row["reason"].startswith("call 2 of 3, hangs: ")
    assert row["results"][0] == "äö 12"
    assert row["results"][2].startswith("Error: it was not called")


def test_all_calls_of_a_turn_count(file: str) -> None:
    row = called(file, ("add", {"a": 1}), ("add", {"a": 5}))
    assert (row["passed"], row["results"]) == (True, ["2", "6"])
    assert [turn.get("tool_call_id") for turn in row["messages"]] == [None, None, "c0", "c1"]
    row = called(file, ("add", {"a": 1}), ("nope", {}), ("fails", {}))
    assert (row["passed"], row["verdict"]) == (False, "unknown_tool")
    assert row["reason"].startswith("call 2 of 3, nope: ")
    assert row["results"][0] == "2"
    assert row["results"][2] == "Error: ValueError: no such place: Ulmm"


def test_a_turn_without_calls_is_passed_on(file: str) -> None:
    answered = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    for row in ({"messages": answered}, {"tool_calls": None}, {"tool_calls": "[]"}, {}):
        outcome = judged(VerifyToolCalls(code=file), **row).row
        assert outcome == {
            "passed": False,
            "verdict": "no_calls",
            "reason": "the turn calls no tool",
            "results": None,
        }


@pytest.mark.parametrize(
    "calls",
    [
        [{"name": "add", "arguments": {"a": 1}}],
        '[{"name": "add", "arguments": {"a": 1}}]',
        [{"id": None, "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
    ],
)
def test_calls_may_be_a_column(calls: Any, file: str) -> None:
    row = judged(VerifyToolCalls(calls="answers", code=file), answers=calls).row
    assert (row["passed"], row["results"]) == (True, ["2"])
    assert "messages" not in row


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfdef add(a):\r\n    return 'f\xc3\xbcnf'\r\n",
        b"# coding: latin-1\ndef add(a):\n    return 'f\xfcnf'\n",
    ],
)
def test_a_file_of_tools_is_read_as_python_reads_it(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    file.write_bytes(data)
    VerifyToolCalls(code=str(file)).inspect()
    assert called(str(file), ("add", {"a": 1}))["results"] == ["fünf"]


def test_code_may_be_a_column() -> None:
    operator = VerifyToolCalls(code="source")
    row = judged(operator, messages=turns(("add", {"a": 1})), source="def add(a): return -a")
    assert row.row["results"] == ["-1"]
    missing = judged(operator, messages=turns(("add", {"a": 1})))
    assert missing.error == "column 'source' holds NoneType; the code of the tools is required"
    broken = judged(operator, messages=turns(("add", {"a": 1})), source="def add(a: return a")
    assert broken.error.startswith("the code of the tools cannot be loaded: SyntaxError")
    raising = judged(operator, messages=turns(("add", {"a": 1})), source="1 / 0")
    assert raising.error == "the code of the tools cannot be loaded: ZeroDivisionError: division by zero"
    other = judged(operator, messages=turns(("add", {"a": 1})), source="def sub(a): return a")
    assert other.error.startswith("the code of the tools defines no function 'add', which was offered")
    assert isinstance(other, Failed)


def test_stateful_tools_remember_earlier_turns(file: str) -> None:
    """The ids of calls are the same in each turn, as some servers give them."""

    def answer(place: int, **more: Any) -> dict[str, Any]:
        return {"role": "tool", "content": "x", "tool_call_id": f"c{place}", **more}

    talk = [
        *turns(("remember", {"item": "a"}), ("leaves", {})),
        answer(0),
        answer(1, is_error=True),
        *turns(("leaves", {}), ("remember", {"item": "b"})),
        answer(0, is_error=True),
        answer(1),
        *turns(("remember", {"item": "c"})),
    ]
    for stateful, box in ((True, '["a", "b", "c"]'), (False, '["c"]')):
        row = judged(VerifyToolCalls(code=file, stateful=stateful), messages=talk).row
        assert row["results"] == [box]
        assert len(row["messages"]) == len(talk) + 1


def test_answers_without_ids_are_in_the_order_of_the_calls(file: str) -> None:
    talk = [
        *turns(("remember", {"item": "a"}), ("remember", {"item": "b"}), ("remember", {"item": "c"})),
        {"role": "tool", "content": "x"},
        {"role": "tool", "content": "x", "is_error": True},
        {"role": "tool", "content": "x"},
        *turns(("remember", {"item": "d"})),
    ]
    for named in (True, False):
        if not named:
            for turn in talk:
                for call in turn.get("tool_calls", []):
                    del call["id"]
        row = judged(VerifyToolCalls(code=file, stateful=True), messages=talk).row
        assert row["results"] == ['["a", "c", "d"]']


def test_schemas_and_tools_that_are_not_valid_fail_their_row(file: str) -> None:
    operator, messages = VerifyToolCalls(code=file), turns(("add", {"a": 1}))
    wrong = tool("add", a={"type": "int"})
    assert (
        "tool 'add': the schema is not valid at" in judged(operator, messages=messages, tools=[wrong]).error
    )
    listed = {"name": "add", "parameters": [1]}
    assert "its 'parameters' are no JSON Schema" in judged(operator, messages=messages, tools=[listed]).error
    assert "no list of turns" in judged(operator, messages="text").error
    assert "no list" in judged(operator, tool_calls={"add": 1}).error
    assert "no name of a function" in judged(operator, tool_calls=[{"function": {"arguments": "{}"}}]).error
    row = judged(operator, messages=messages, tools=None).row
    assert row["verdict"] == "unknown_tool"
    assert row["reason"] == "add: there is no tool 'add'; no tools were offered"


def test_open_schemas_take_other_arguments() -> None:
    loose = tool("add", a={"type": "integer"})
    loose["function"]["parameters"]["additionalProperties"] = True
    assert judged(VerifyToolCalls(), messages=turns(("add", {"c": 1})), tools=[loose]).row["passed"]
    bare = {"name": "add"}
    assert judged(VerifyToolCalls(), messages=turns(("add", {})), tools=[bare]).row["passed"]
    assert not judged(VerifyToolCalls(), messages=turns(("add", {"c": 1})), tools=[bare]).row["passed"]
    row = judged(VerifyToolCalls(), messages=turns(("add", "[1]")), tools=[bare]).row
    assert row["reason"] == "add: $: [1] is not of type 'object'"


NAMED = {"id": {"type": "integer"}, "name": {"type": "string"}}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": NAMED, "anyOf": [{"required": ["id"]}, {"required": ["name"]}]},
        {"anyOf": [{"properties": {"id": NAMED["id"]}}, {"properties": {"name": NAMED["name"]}}]},
        {"allOf": [{"properties": NAMED}]},
        {"$ref": "#/$defs/place", "$defs": {"place": {"properties": NAMED}}},
        {"properties": NAMED, "patternProperties": {"^x-": {}}},
        {"properties": NAMED, "if": {"required": ["id"]}, "then": {"required": ["name"]}},
    ],
)
def test_an_argument_that_no_part_of_the_schema_names_is_wrong(schema: dict[str, Any]) -> None:
    place = {"name": "add", "parameters": schema}
    good = turns(("add", {"id": 1, "name": "x"}))
    assert judged(VerifyToolCalls(), messages=good, tools=[place]).row["passed"]
    wrong = turns(("add", {"id": 1, "name": "x", "zip": 1, "naem": "x"}))
    row = judged(VerifyToolCalls(), messages=wrong, tools=[place]).row
    assert (row["verdict"], row["reason"]) == ("arguments", "add: $: there is no argument 'naem'")
    for key in ("additionalProperties", "unevaluatedProperties"):
        free = {"name": "add", "parameters": {**schema, key: True}}
        assert judged(VerifyToolCalls(), messages=wrong, tools=[free]).row["passed"]


@pytest.mark.parametrize("more", [{}, {"additionalProperties": True}])
def test_arguments_are_an_object_whatever_the_type_of_the_schema(more: dict[str, Any], file: str) -> None:
    odd = {"name": "add", "parameters": {"type": ["object", "null", "array"], **more}}
    for given in ("null", "[]"):
        row = judged(VerifyToolCalls(code=file), messages=turns(("add", given)), tools=[odd]).row
        assert (row["verdict"], row["reason"]) == ("arguments", "add: $: the arguments are no object")


def test_a_pattern_that_never_ends_is_stopped() -> None:
    slow = tool("add", a={"type": "string", "pattern": "^(a|a)*$"})
    row = judged(VerifyToolCalls(), messages=turns(("add", {"a": "a" * 60 + "b"})), tools=[slow]).row
    assert (row["passed"], row["verdict"]) == (False, "arguments")
    assert row["reason"].startswith("add: they cannot be judged: it takes longer than")


def test_mistakes_are_found_when_the_plan_is_made(tmp_path: Path, file: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        VerifyToolCalls(code=str(tmp_path / "none.py")).inspect()
    with pytest.raises(DataError, match=r"there are .*gristmill:seeds/tools\.py"):
        VerifyToolCalls(code="gristmill:seeds/tool.py").inspect()
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:")
    with pytest.raises(DataError, match=r"broken\.py: it is not Python"):
        VerifyToolCalls(code=str(broken)).inspect()
    with pytest.raises(DataError, match="calls are read from 'messages' or the column 'tool_calls'"):
        VerifyToolCalls(code=file).check_columns(["tools", "prompt"])
    with pytest.raises(DataError, match="no column 'sources'"):
        VerifyToolCalls(code="sources").check_columns(["tools", "messages"])
    with pytest.raises(ValueError, match="a tool is no function with a name"):
        VerifyToolCalls(tools=({"x": 1},))
    before = VerifyToolCalls(code=file).content()
    Path(file).write_text(CODE + "\n")
    assert VerifyToolCalls(code=file).content() != before


def test_the_verdicts_are_counted() -> None:
    table = pa.table({"verdict": ["passed", "timeout", "passed"]})
    assert VerifyToolCalls().summary(table) == {"passed": 2, "timeout": 1}
