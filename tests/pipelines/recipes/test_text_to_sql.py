"""The recipe text_to_sql with a scripted teacher; every query runs in DuckDB as usual."""

from __future__ import annotations

from collections import Counter
from typing import Any

DATABASE = "CREATE TABLE t (a INTEGER);\nINSERT INTO t VALUES (1), (2), (2), (NULL);"


def fenced(sql: str) -> str:
    return f"Here.\n```sql\n{sql}\n```"


def test_text_to_sql(recipe: Any, exported: Any) -> None:
    """Question 0 is solved twice of three times, 1 never; 2's query does not run, and 3's gives no rows. Of 4
    there is one solution, since two answers have no query.
    """
    asked: Counter[str] = Counter()
    queries = ["SELECT count(*) FROM t", "SELECT 7", "SELECT b FROM t", "SELECT a FROM t WHERE a > 9"]
    queries.append("SELECT 5")

    def teacher(prompt: str, seed: int) -> str:
        if prompt.startswith("Invent"):
            return fenced(DATABASE)
        if 'Begin with "Question:"' in prompt:
            asked["questions"] += 1
            number = asked["questions"] - 1
            return f"Question: How many are there, {number}?\n{fenced(queries[number])}"
        if "there, 4?" in prompt:
            asked["of 4"] += 1
            return fenced("SELECT 5") if asked["of 4"] == 1 else "I do not know."
        asked["solutions"] += "there, 0?" in prompt
        solved = "there, 0?" in prompt and asked["solutions"] != 2
        return fenced("SELECT 4" if solved else "SELECT count(a) FROM t")

    run = recipe("text_to_sql", teacher, {"databases": 1, "questions": 5, "samples": 3})
    [row] = run["best"].to_arrow().to_pylist()
    assert row["question"] == "How many are there, 0?"
    assert row["response"] == "```sql\nSELECT 4\n```"
    assert round(row["agreement"], 3) == 0.667
    assert {each["question"][-2] for each in run["valid"].to_arrow().to_pylist()} == {"0", "1", "4"}
    [task] = exported("tasks")
    assert task["answer"] == "SELECT count(*) FROM t"
    assert task["task"] == "sql"
    assert task["database"] == DATABASE
    assert task["prompt"][0]["content"].endswith("How many are there, 0?")


def test_a_database_that_cannot_be_made_gets_no_questions(recipe: Any) -> None:
    made: Counter[str] = Counter()

    def teacher(prompt: str, seed: int) -> str:
        if not prompt.startswith("Invent"):
            made["questions"] += 1
            return f"Question: How many are there?\n{fenced('SELECT 1')}"
        made["databases"] += 1
        return fenced(DATABASE if made["databases"] == 1 else f"{DATABASE}\nCREATE TABLE t (b INTEGER);")

    run = recipe("text_to_sql", teacher, {"databases": 2, "questions": 3}, until="asked")
    assert made == {"databases": 2, "questions": 3}
    assert {row["database"] for row in run["asked"].to_arrow().to_pylist()} == {DATABASE}
    [lost] = run["whole"].rejected.to_arrow().to_pylist()
    assert "already exists" in lost["reason"]
