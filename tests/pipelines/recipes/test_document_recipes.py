"""The recipes over documents, whole: real files and a scripted teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ...datagen.documents.files import pdf

#: Topic -> a passage's first sentence, which a question is about.
FACTS = {
    "mill": "The runner stone of a windmill weighs about one thousand kilograms.",
    "copy": "The runner stone of a windmill weighs about 1,000 kilograms in most cases.",
    "loaf": "A sourdough loaf rests for eighteen hours before it is baked.",
    "silk": "One cocoon of a silkworm gives a thread of nine hundred meters.",
    "bell": "A church bell is cast from a bronze with twenty percent of tin.",
    "moon": "The Moon turns around the Earth in a little more than twenty-seven days.",
    "salt": "The evaporation ponds of the island give four tons of salt per year.",
}
MORE = "It has been so for many years. Nobody in the village wants to change that. Visitors write it down."
QUESTIONS = {
    "mill": "How heavy is the runner stone of a windmill?",
    "copy": "How heavy is the runner stone of a windmill?",
    "loaf": "What does this passage say about a loaf?",
    "silk": "How long is the thread of a silkworm's cocoon?",
    "bell": "What is a church bell made of?",
    "moon": "How long does the Moon take to turn around the Earth?",
    "salt": "How much salt do the ponds of the island give?",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = tmp_path / "documents"
    documents.mkdir()
    for topic, fact in FACTS.items():
        lines = [f"# On the {topic}", "", fact, *[MORE] * 3]
        if topic == "mill":
            (documents / "mill.pdf").write_bytes(pdf([["Cover"], [fact, *[MORE] * 3]], title="On the mill"))
        else:
            (documents / f"{topic}.md").write_text("\n".join(lines))
    (documents / "locked.pdf").write_bytes(pdf([["secret text"]], locked=True))
    return documents


def topic_of(text: str) -> str:
    """Of a passage, or else of a question."""
    return next(topic for said in (FACTS, QUESTIONS) for topic in said if said[topic] in text)


def teacher(prompt: str, seed: int) -> str | dict[str, float]:
    """``loaf``'s question points at its passage, ``silk``'s quotation is invented, ``bell``'s answer is not
    supported, and ``moon``'s is known; ``copy``'s question is ``mill``'s.
    """
    topic = topic_of(prompt)
    if "Write one question" in prompt:
        return f"<question>{QUESTIONS[topic]}</question>"
    if "from this passage alone" in prompt:
        quote = "A thread of silk is very long." if topic == "silk" else FACTS[topic]
        return f"<quote>“{quote}”</quote>\n<answer>It is so: {topic}.</answer>"
    if prompt.startswith("Rate a response"):
        good = topic != "bell" if "Criterion: answer" in prompt else topic == "moon"
        return {"5": 0.95, "1": 0.05} if good else {"1": 0.95, "5": 0.05}
    return f"Nobody knows about {topic}."


def test_only_what_is_verified_becomes_a_pair(
    recipe: Any, exported: Callable[[str], list[dict[str, Any]]], folder: Path
) -> None:
    variables = {"documents": str(folder), "passages": 1, "questions": 1}
    # Without the embedder, which is not the matter here.
    exact = "steps.unique={dedup: exact, columns: [question], from: needed}"
    run = recipe("qa_from_documents", teacher, variables, exact)
    kept = {name: {topic_of(row["text"]) for row in run[name].to_arrow().to_pylist()} for name in (
        "chosen", "alone", "grounded", "supported", "needed",
    )}  # fmt: skip
    assert kept["chosen"] == {*FACTS}
    assert kept["chosen"] - kept["alone"] == {"loaf"}
    assert kept["alone"] - kept["grounded"] == {"silk"}
    assert kept["grounded"] - kept["supported"] == {"bell"}
    assert kept["supported"] - kept["needed"] == {"moon"}
    pairs = {row["question"]: row for row in exported("rag")}
    assert len(pairs) == 2, "one of the two questions about millstones is a duplicate"
    assert QUESTIONS["salt"] in pairs
    [mill] = [row for question, row in pairs.items() if question != QUESTIONS["salt"]]
    for row in (mill, pairs[QUESTIONS["salt"]]):
        [document] = [
            each for each in run["documents"].to_arrow().to_pylist() if each["document"] == row["document"]
        ]
        quoted = document["text"][row["quote_start"] : row["quote_stop"]]
        assert quoted == FACTS[topic_of(row["quote"])].rstrip(".")
    for row in exported("dataset"):
        asked, answer = row["messages"]
        assert row["quote"].strip("“”") in asked["content"]
        assert asked["content"].endswith(row["question"])
        assert answer["content"].startswith("It is so")
    passages = pq.read_table(next((folder.parent / "run" / "exports").rglob("*.parquet")))
    assert passages.num_rows == len(FACTS)
    assert {None, 1} >= set(passages["page"].to_pylist())


def test_a_damaged_document_costs_its_row_alone(recipe: Any, folder: Path) -> None:
    run = recipe("qa_from_documents", teacher, {"documents": str(folder)}, until="distinct")
    fates = run["documents"].outcomes()
    reasons = {row["path"]: row["_reason"] for row in fates.to_pylist() if row["_fate"] == "failed"}
    [(path, reason)] = reasons.items()
    assert path.endswith("locked.pdf")
    assert reason["error"].endswith("it is encrypted: save it without a password")
    assert len(run["documents"]) == len(run["distinct"]) == len(FACTS)


def test_retrieval_triplets(
    recipe: Any, exported: Callable[[str], list[dict[str, Any]]], folder: Path
) -> None:
    """``salt``'s query is about something else, and is not consistent."""
    others = {"salt": "price of a train ticket", "copy": "weight of the runner stone of a windmill"}

    def asks(prompt: str, seed: int) -> str:
        topic = topic_of(prompt)
        return f"<query>{others.get(topic, QUESTIONS[topic])}</query>"

    text = "# On windmills\n\nA windmill has two stones, and one of them runs. " + MORE * 3
    (folder / "unasked.md").write_text(text)
    variables = {"documents": str(folder), "passages": 1, "queries": 1, "nearest": 2, "negatives": 2}
    asked = "steps.chosen={keep: \"path NOT LIKE '%unasked%'\", from: distinct}"
    run = recipe("retrieval_triplets", asks, variables, asked)
    assert len(run["consistent"].outcomes()) == len(FACTS)
    rows = exported("dataset")
    assert {topic_of(row["positive"]) for row in rows} >= {"loaf", "silk", "bell", "moon"}
    assert all(row["query"] != "price of a train ticket" for row in rows)
    by_topic = {topic_of(row["positive"]): row for row in rows}
    for row in rows:
        assert row["positive"] not in row["negatives"]
        assert len(row["negatives"]) == 2
    assert any("two stones" in text for text in by_topic["copy"]["negatives"]), "a passage without a query"
