"""The packaged tools: each gives a result for ordinary arguments, and raises for senseless ones."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from gristmill.datagen.sources.python_tools import PythonTools
from gristmill.datagen.verify.tool_calls import VerifyToolCalls

FILE = "gristmill:seeds/tools.py"
RESULTS: list[tuple[str, dict[str, Any], str]] = [
    ("convert_length", {"value": 26.2, "from_unit": "mile", "to_unit": "kilometer"}, "42.164813"),
    ("convert_weight", {"value": 2, "from_unit": "pound", "to_unit": "gram"}, "907.18474"),
    ("convert_temperature", {"value": 100, "from_unit": "celsius", "to_unit": "fahrenheit"}, "212.0"),
    ("calculate", {"expression": "(2 + 3) * 4.5 // 2 - -1"}, "12.0"),
    ("add_days", {"start": "2024-02-28", "days": 2}, "2024-03-01"),
    ("days_between", {"start": "2024-03-01", "end": "2024-02-28"}, "-2"),
    ("day_of_week", {"day": "1969-07-20"}, "Sunday"),
    ("add_minutes", {"time": "23:30", "minutes": 45}, "00:15"),
    ("count_text", {"text": "to be or not", "unit": "words"}, "4"),
    ("loan_payment", {"amount": 12000, "yearly_percent": 0, "months": 12}, "1000.0"),
    ("loan_payment", {"amount": 10000, "yearly_percent": 6, "months": 12}, "860.66"),
    ("split_bill", {"total": 80, "people": 4, "tip_percent": 15}, "23.0"),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("convert_temperature", {"value": -300, "from_unit": "celsius", "to_unit": "kelvin"}),
    ("calculate", {"expression": "2 ** 9"}),
    ("calculate", {"expression": "1 / 0"}),
    ("calculate", {"expression": "open('/etc/passwd')"}),
    ("add_days", {"start": "tomorrow", "days": 2}),
    ("search_articles", {"words": "submarine"}),
    ("summarize_numbers", {"numbers": []}),
    ("split_bill", {"total": 80, "people": 0}),
    ("loan_payment", {"amount": 10000, "yearly_percent": 6, "months": 0}),
]


def called(*calls: tuple[str, dict[str, Any]]) -> Any:
    [batch] = list(PythonTools(path=FILE).read(None))  # type: ignore[arg-type]
    tools = f"[{', '.join(batch['tool'].to_pylist())}]"
    context: Any = SimpleNamespace(seed=1)
    given = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    rows = [{"_id": "r", "tools": tools, "tool_calls": given}]
    [[outcome]] = asyncio.run(VerifyToolCalls(code=FILE).open(context)(rows))
    return outcome.row


def test_results() -> None:
    row = called(*[(name, arguments) for name, arguments, _ in RESULTS])
    assert row["reason"] is None
    assert row["results"] == [result for _, _, result in RESULTS]
    found = called(
        ("search_articles", {"words": "grain wind", "limit": 2}),
        ("summarize_numbers", {"numbers": [3, 1, 2.5]}),
    )
    assert [each["title"] for each in json.loads(found["results"][0])] == ["Windmill", "Watermill"]
    assert json.loads(found["results"][1])["median"] == 2.5


@pytest.mark.parametrize("call", WRONG)
def test_senseless_arguments_raise(call: tuple[str, dict[str, Any]]) -> None:
    assert called(call)["verdict"] == "failed"
