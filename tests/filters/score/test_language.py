from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.language import Language, detect

SENTENCES = {
    "en": "The library opens at nine on weekdays, and closes early before a public holiday.",
    "de": "Die Bücherei öffnet werktags um neun Uhr und schließt vor Feiertagen etwas früher.",
    "fr": "La bibliothèque ouvre à neuf heures en semaine et ferme plus tôt la veille des jours fériés.",
    "es": "La biblioteca abre a las nueve entre semana y cierra antes en la víspera de los festivos.",
    "pl": "Biblioteka jest otwarta w dni powszednie od dziewiątej, a przed świętami zamyka się wcześniej.",
    "ru": "Библиотека открывается в будни в девять часов, а перед праздниками закрывается раньше.",
    "ja": "図書館は平日は九時に開き、祝日の前日は早く閉まります。",
    "zh": "图书馆工作日九点开门，节假日前一天会提前关门。",
}
PYTHON = '''
def mean(values: list[float]) -> float:
    """The arithmetic mean of the values, which must not be empty."""
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)
'''
JAVA = """
public class Counter {
    private int count = 0;
    public void add(int n) { count += n; }
    public int get() { return count; }
}
"""


def texts(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])


def languages(*values: str | None, **options: Any) -> list[str | None]:
    return detect(texts(*values), **options)["language"].to_pylist()


def test_sentences_have_their_language() -> None:
    assert languages(*SENTENCES.values()) == list(SENTENCES)


@pytest.mark.parametrize(
    "code", [PYTHON, JAVA, f"```python\n{PYTHON}```", "SELECT name\nFROM users\nWHERE age > 3;"]
)
def test_code_is_code_and_no_language(code: str) -> None:
    found = detect(texts(code))
    assert found["language"].to_pylist() == ["code"]
    assert found["language_confidence"][0].as_py() > 0.5


def test_an_answer_that_shows_a_little_code_has_the_language_of_its_prose() -> None:
    german = SENTENCES["de"]
    told = f"{german} {german}\n```python\nprint('the library of the town')\n```\n{german}"
    assert languages(told) == ["de"]


def test_the_language_is_that_of_the_prose_behind_the_code() -> None:
    code = "\n".join(f"print('{SENTENCES['en']}')" for _ in range(6))
    assert languages(f"```python\n{code}\n```\n{SENTENCES['de'] * 9}") == ["de"]


def test_what_has_no_letters_is_undetermined_and_null_stays_null() -> None:
    found = detect(texts("42", "", "  \n", None))
    assert found["language"].to_pylist() == ["und", "und", "und", None]
    assert found["language_confidence"].to_pylist() == [0.0, 0.0, 0.0, None]


def test_confidence_is_low_for_a_word_and_high_for_a_paragraph() -> None:
    low, high = detect(texts("ok", SENTENCES["en"] * 3))["language_confidence"].to_pylist()
    assert low < 0.3 < 0.9 < high


def test_only_given_languages_are_chosen_from() -> None:
    assert languages("hello", "Yes", among=("en", "de")) == ["en", "en"]
    with pytest.raises(DataError, match="unknown language found 'english'"):
        Language(among=("english",)).inspect()


def test_as_a_step_over_conversations_and_under_a_prefix(context: Any) -> None:
    turns = [{"role": "user", "content": SENTENCES["fr"]}, {"role": "assistant", "content": SENTENCES["fr"]}]
    table = pa.table({"messages": [turns], "response": pa.array([None], pa.string())})
    step = Language(column="messages", prefix="spoken_")
    found = step.open(context)(table)
    assert found.columns["spoken_language"].to_pylist() == ["fr"]
    assert list(found.columns) == step.added()
    assert Language().open(context)(table).columns["language"].to_pylist() == [None]


def test_a_missing_or_numeric_column_is_told(context: Any) -> None:
    with pytest.raises(DataError, match="did you mean 'response'"):
        Language(column="respons").open(context)(pa.table({"response": ["a"]}))
    with pytest.raises(DataError, match="needs text in the column 'n'"):
        Language(column="n").open(context)(pa.table({"n": [1]}))
