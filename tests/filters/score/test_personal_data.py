from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.personal_data import PersonalData, iban, luhn

FOUND = {
    "Write to anna.schmidt+news@mail.uni-mitte.de today.": "email",
    "Call (415) 555-2671 after six.": "phone",
    "Ring +44 20 7946 0958 or come by.": "phone",
    "The server answers at 8.8.8.8 only.": "ip",
    "It has the address 2001:4860:4860:0:0:0:0:8888 too.": "ip",
    "Pay with 4111 1111 1111 1111, please.": "card",
    "Pay with 378282246310005, please.": "card",
    "Transfer it to DE89 3704 0044 0532 0130 00.": "iban",
    "Her number is 219-09-9999.": "ssn",
}
NOT_FOUND = [
    "Write to user@example.com or admin@test.invalid.",
    "Pi is 3.14159265359, and 1234567890 is a number.",
    "Version 1.2.3.4 runs on 192.168.0.1 and 127.0.0.1.",
    "The card 4111 1111 1111 1112 has a wrong check digit.",
    "The account DE88 3704 0044 0532 0130 00 has wrong ones.",
    "std::vector<int> a; at 12:30:45 on 2024-01-02",
    "decorated with @app.route and @property",
    "10 20 30 40 50 60 70 80",
    "",
]


def scored(table: pa.Table, context: Any, **options: Any) -> dict[str, list[Any]]:
    found = PersonalData(**options).open(context)(table)
    return {name: column.to_pylist() for name, column in found.columns.items()}


@pytest.mark.parametrize(("text", "kind"), FOUND.items())
def test_each_kind_is_found_counted_and_masked(text: str, kind: str, context: Any) -> None:
    found = scored(pa.table({"response": [text]}), context, replace=True)
    assert (found["personal_data"], found["personal_data_kinds"]) == ([1], [[kind]])
    before, _, after = found["response"][0].partition(f"[{kind.upper()}]")
    assert text.startswith(before)
    assert text.endswith(after)
    assert not any(letter.isdigit() or letter == "@" for letter in before + after)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_belongs_to_no_one_is_left_alone(text: str, context: Any) -> None:
    found = scored(pa.table({"response": [text]}), context, replace=True)
    assert found == {"response": [text], "personal_data": [0], "personal_data_kinds": [[]]}


def test_only_the_asked_kinds_are_looked_for(context: Any) -> None:
    text = "anna@uni-mitte.de, 8.8.8.8"
    assert scored(pa.table({"response": [text]}), context, kinds=["ip"])["personal_data_kinds"] == [["ip"]]


def test_numbers_without_a_country_need_one(context: Any) -> None:
    table = pa.table({"response": ["Call 020 7946 0958."]})
    assert scored(table, context, region="GB")["personal_data"] == [1]
    assert scored(table, context, region=None)["personal_data"] == [0]
    with pytest.raises(DataError, match="unknown region: found 'UK'"):
        PersonalData(region="UK").inspect()
    PersonalData(region="GB").inspect()


def test_conversations_are_masked_however_deep(context: Any) -> None:
    turns = [{"role": "user", "content": "I am anna@uni-mitte.de"}, {"role": "assistant", "content": "Hi."}]
    table = pa.table({"messages": pa.array([turns, None, turns[1:]])})
    found = scored(table, context, columns=["messages"], replace=True)
    masked = [{"role": "user", "content": "I am [EMAIL]"}, turns[1]]
    assert found == {
        "messages": [masked, None, turns[1:]],
        "personal_data": [1, None, 0],
        "personal_data_kinds": [["email"], None, []],
    }


def test_without_replace_the_columns_stay(context: Any) -> None:
    found = scored(pa.table({"response": list(FOUND)}), context)
    assert set(found) == {"personal_data", "personal_data_kinds"}


def test_values_appear_in_no_column_but_their_own(context: Any) -> None:
    found = scored(pa.table({"response": list(FOUND)}), context, replace=True)
    written = str({name: values for name, values in found.items() if name != "response"})
    assert "anna" not in written
    assert not any(digits in written for digits in ("4111", "5552671", "8.8", "3704"))


def test_numbers_are_refused(context: Any) -> None:
    with pytest.raises(DataError, match="column 'n' holds int64"):
        PersonalData(columns=("n",)).open(context)(pa.table({"n": [1]}))


def test_check_digits() -> None:
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{digit}") for digit in "012456789")
    assert iban("GB82WEST12345698765432")
    assert not iban("GB28WEST12345698765432")
