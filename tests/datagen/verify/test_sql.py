"""Text-to-SQL: the same rows pass, whatever the query does to get out of its database costs only itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.verify.same_rows import compare
from gristmill.datagen.verify.sql import VerifySql

DATABASE = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR, age INTEGER, pay DECIMAL(8, 2));
INSERT INTO people VALUES (1, 'Ann', 30, 10.50), (2, 'Bob', 40, 20.00), (3, 'Cyd', 50, NULL),
  (4, 'Ann', 30, 7);
"""


def told(query: str, reference: str, most: int = 100) -> dict[str, Any]:
    return compare(DATABASE, query, reference, 64 << 20, most)


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ("SELECT name FROM people WHERE age > 30", "SELECT p.name AS n FROM people p WHERE p.age >= 31;"),
        ("SELECT name FROM people ORDER BY id DESC", "SELECT name FROM people"),
        ("SELECT 2.0", "SELECT 2"),
        ("SELECT 0.1 + 0.2", "SELECT 0.3::DOUBLE"),
        ("SELECT avg(pay) FROM people", "SELECT sum(pay) / count(pay) FROM people"),
        ("WITH old AS (SELECT * FROM people ORDER BY age) SELECT id FROM old", "SELECT id FROM people"),
        ("SELECT [1, 2], {'a': 1}, DATE '2024-01-02'", "SELECT [1, 2], {'a': 1}, DATE '2024-01-02'"),
    ],
)
def test_the_same_rows_pass(query: str, reference: str) -> None:
    assert told(query, reference) == {"reason": None}


@pytest.mark.parametrize(
    ("query", "reference", "reason"),
    [
        (
            "SELECT name FROM people WHERE age > 40",
            "SELECT name FROM people WHERE age >= 40",
            "gives 1 rows, expected 2",
        ),
        ("SELECT DISTINCT name FROM people", "SELECT name FROM people", "gives 3 rows, expected 4"),
        (
            "SELECT name FROM people ORDER BY id DESC",
            "SELECT name FROM people ORDER BY id",
            "in another order",
        ),
        ("SELECT age, name FROM people", "SELECT name, age FROM people", "other rows"),
        ("SELECT name FROM people", "SELECT name, age FROM people", "gives 1 columns, expected 2"),
        ("SELECT '1'", "SELECT 1", "other rows"),
        ("SELECT true", "SELECT 1", "other rows"),
        ("SELECT NULL", "SELECT 0", "other rows"),
        ("SELECT 9007199254740993", "SELECT 9007199254740992", "other rows"),
        ("SELECT name FROM persons", "SELECT name FROM people", "persons"),
        ("SELEC name", "SELECT name FROM people", "Parser Error"),
        ("", "SELECT 1", "one SELECT"),
        ("SELECT 1; SELECT 1", "SELECT 1", "one SELECT"),
        ("DELETE FROM people RETURNING 1", "SELECT 1", "one SELECT"),
        ("SET memory_limit = '1TB'", "SELECT 1", "one SELECT"),
        ("SELECT 1 FROM people a, people b, people c, people d", "SELECT 1", "more than 100 rows"),
    ],
)
def test_other_rows_do_not(query: str, reference: str, reason: str) -> None:
    assert reason in told(query, reference)["reason"]


def test_an_invalid_reference_or_database_is_no_verdict() -> None:
    assert "gives no rows" in told("SELECT 1", "SELECT 1 WHERE false")["invalid"]
    assert "reference cannot be run" in told("SELECT 1", "SELECT nothing")["invalid"]
    assert "cannot be made" in compare("CREATE TABLE", "SELECT 1", "SELECT 1", 64 << 20, 9)["invalid"]
    row = {"_id": "r", "response": "SELECT 1", "answer": "SELECT 1 WHERE false", "database": DATABASE}
    [[outcome]] = asyncio.run(VerifySql().open(None)([row]))  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert "gives no rows" in outcome.error
    [[judged]] = asyncio.run(VerifySql(query="answer").open(None)([row]))  # type: ignore[arg-type]
    assert judged.row["passed"] is False
    assert "gives no rows" in judged.row["reason"]


def test_nothing_outside_the_database_is_reached(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for query in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"SELECT content FROM read_text('{secret}')",
        "SELECT * FROM read_csv('https://example.org/a.csv')",
    ):
        assert "disabled" in told(query, "SELECT 1")["reason"], query
    for setup in (f"COPY (SELECT 1) TO '{tmp_path}/out.csv'", f"ATTACH '{tmp_path}/a.db'", "INSTALL httpfs"):
        assert "cannot be made" in compare(setup, "SELECT 1", "SELECT 1", 64 << 20, 9)["invalid"], setup
    assert [each.name for each in tmp_path.iterdir()] == ["secret.csv"]


def test_each_row_gets_its_own_verdict() -> None:
    operator = VerifySql(seconds=2, memory_mib=64)
    endless = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"
    queries = {
        "Here:\n```sql\nSELECT count(*) FROM people\n```": None,
        "SELECT count(age) + 1 FROM people": "it gives other rows",
        endless: "it takes longer than 2 s",
        "SELECT list(i) FROM range(100000000) t(i)": "memory",
    }
    rows = [
        {"_id": str(n), "response": query, "answer": "SELECT count(*) FROM people", "database": DATABASE}
        for n, query in enumerate(queries)
    ]
    rows.append({**rows[0], "answer": endless})
    rows.append({**rows[0], "answer": None})
    outcomes = asyncio.run(operator.open(None)(rows))  # type: ignore[arg-type]
    *judged, endless_reference, lacking = [outcome for [outcome] in outcomes]
    for outcome, reason in zip(judged, queries.values(), strict=True):
        assert isinstance(outcome, Kept)
        assert outcome.row["passed"] is (reason is None)
        assert (
            (outcome.row["reason"] is None) if reason is None else (reason in outcome.row["reason"].lower())
        )
    assert endless_reference.error == "the reference cannot be run: it takes longer than 2 s"
    assert lacking.error == "column 'answer' holds NoneType; text is required"
