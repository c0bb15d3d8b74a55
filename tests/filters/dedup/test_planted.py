"""Planted contaminations of every kind are found, and nothing else is."""

from __future__ import annotations

import ast
import json
import pickle
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup.code_shape import function_shapes
from gristmill.filters.dedup.decontaminate import Decontaminate

WORDS = """
river stone lamp garden copper window letter silver morning bridge cotton market winter engine paper forest
basket harbor violin pepper castle meadow ticket blanket orange hammer island pocket thunder mirror
""".split()  # noqa: SIM905
ITEMS = 20


def sentence(random_: random.Random, words: int) -> str:
    return " ".join(random_.choice(WORDS) for _ in range(words))


def program(number: int) -> str:
    """A function of its own shape for each number."""
    extra = "\n".join(
        f"        total = total * {number + 2} + item ** {each}" for each in range(number % 5 + 1)
    )
    return (
        f"def solve_{number}(items, limit):\n"
        f'    """Task {number}."""\n'
        "    total = 0\n"
        "    for item in items:\n"
        f"        if item % {number + 3} == {number}:\n"
        "            continue\n"
        f"{extra}\n"
        "    return total if total < limit else len(items)\n"
    )


def renamed(code: str) -> str:
    for old, new in (("items", "values"), ("limit", "most"), ("total", "acc"), ("item", "x"), ("solve", "f")):
        code = code.replace(old, new)
    return (
        "Here it is:\n```python\n"
        + code.replace("    acc = 0\n", "    # start\n\n    acc = 0\n")
        + "```\nDone."
    )


@pytest.fixture
def sets(context: Any, rows: Any) -> Any:
    random_ = random.Random(4)
    texts = [sentence(random_, 30) for _ in range(ITEMS)]
    code = [program(number) for number in range(ITEMS)]
    answers = [sentence(random_, 24) for _ in range(ITEMS)]
    context.tables["coding"] = rows(
        prompt=[f"Solve task {i} now" for i in range(ITEMS)], canonical_solution=code
    )
    context.tables["maths"] = rows(question=texts, answer=answers)
    return texts, answers, code


def planted(kind: str, sets: Any) -> list[dict[str, Any]]:
    texts, answers, code = sets
    return {
        "verbatim": [{"prompt": text} for text in texts],
        "recased": [{"prompt": text.upper().replace(" ", "  \n")} for text in texts],
        "embedded": [{"response": f"Sure, here: {text}. And then some more words follow."} for text in texts],
        "answer": [{"response": f"First, {text}"} for text in answers],
        "messages": [{"messages": json.dumps([{"role": "user", "content": text}])} for text in texts],
        "short": [{"prompt": f"solve TASK {i}, now!"} for i in range(ITEMS)],
        "renamed": [{"response": renamed(each)} for each in code],
        "paraphrased": [
            {"prompt": "Well, " + " ".join(text.split()[i % 2 :: 1][::-1])} for i, text in enumerate(texts)
        ],
    }[kind]


KINDS = ["verbatim", "recased", "embedded", "answer", "messages", "short", "renamed", "paraphrased"]


def with_others(rows: Any, some: list[dict[str, Any]]) -> pa.Table:
    random_ = random.Random(9)
    others = [{"prompt": sentence(random_, 30), "response": program(100 + i)} for i in range(60)]
    every = [each | {"planted": True} for each in some] + others
    random_.shuffle(every)
    names = ("prompt", "response", "messages")
    return rows(
        **{name: pa.array([each.get(name) for each in every], pa.string()) for name in names},
        planted=[each.get("planted", False) for each in every],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_all_planted_rows_are_found_and_no_others(
    context: Any, rows: Any, sets: Any, embedder: Any, kind: str
) -> None:
    table = with_others(rows, planted(kind, sets))
    meaning = {"semantic": 0.9, "columns": ("prompt", "question")} if kind == "paraphrased" else {}
    result = Decontaminate(against=["coding", "maths"], **meaning).judge(TableRows(table), context)
    assert (~result.kept).tolist() == table["planted"].to_pylist()
    expected = {
        "verbatim": "exact",
        "recased": "exact",
        "short": "exact",
        "renamed": "code",
        "paraphrased": "semantic",
    }
    assert result.summary["kinds"][expected.get(kind, "ngram")] == ITEMS
    where = "coding" if kind in ("short", "renamed") else "maths"
    assert result.summary["sets"][where] == {
        "items": ITEMS, "contaminated_rows": ITEMS, "contaminated_items": ITEMS
    }  # fmt: skip
    hits = result.summary["hits"]
    assert len(hits) == ITEMS
    assert {hit["set"] for hit in hits} == {where}
    by_id = dict(zip(table["_id"].to_pylist(), table.to_pylist()))
    for hit in hits:
        assert (
            hit["text"].strip("…")[:40]
            in "\n".join(filter(None, (by_id[hit["row"]][n] for n in ("prompt", "response"))))
            or kind == "messages"
        )
        assert hit["item_text"]


def test_both_texts_begin_where_they_agree_and_are_safe_to_show(context: Any, rows: Any, sets: Any) -> None:
    text = sets[0][0]
    row = "\x1b[31m" + "padding " * 50 + text + "\x1b[0m" + " tail" * 200
    result = Decontaminate(against="maths", store_hits=True).judge(
        TableRows(rows(prompt=["nothing of it", row])), context
    )
    hit = result.summary["hits"][0]
    assert hit["text"].startswith("…" + text)
    assert "\x1b" not in hit["text"]
    assert len(hit["text"]) < 300
    assert hit["item_text"].startswith(text[:100])
    assert result.columns["contaminated_by"].to_pylist() == [None, "maths: ngram"]
    assert result.columns["contaminated_text"].to_pylist() == [None, hit["text"]]
    assert result.columns["contaminated_item"].to_pylist() == [None, hit["item_text"]]


@pytest.mark.parametrize("semantic", [None, 0.75])
def test_order_and_batches_change_nothing(
    context: Any, rows: Any, sets: Any, embedder: Any, semantic: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [each for kind in KINDS for each in planted(kind, sets)[:4]]
    table = with_others(rows, every)
    step = Decontaminate(against=["coding", "maths"], semantic=semantic)
    plain = step.judge(TableRows(table), context)
    order = np.random.default_rng(2).permutation(table.num_rows)
    mixed = step.judge(TableRows(table.take(order)), context)
    assert mixed.kept.tolist() == plain.kept[order].tolist()
    assert mixed.score.tolist() == pytest.approx(plain.score[order].tolist())
    assert mixed.duplicate_of == [plain.duplicate_of[i] for i in order]
    monkeypatch.setattr("gristmill.contracts.stored_rows.BATCH_ROWS", 7)
    monkeypatch.setattr("gristmill.filters.dedup.evaluation_items.BLOCK", 3)
    parts = step.judge(TableRows(table), context)
    assert parts.duplicate_of == plain.duplicate_of
    assert parts.summary == plain.summary


def test_no_row_that_is_kept_is_contaminated(context: Any, rows: Any, sets: Any) -> None:
    table = with_others(rows, planted("embedded", sets))
    step = Decontaminate(against=["coding", "maths"])
    kept = table.filter(pa.array(step.judge(TableRows(table), context).kept))
    assert step.judge(TableRows(kept), context).kept.all()


def test_shapes_ignore_names_and_layout_only() -> None:
    code = program(3)
    assert len(function_shapes(code)) == 1
    assert function_shapes(renamed(code)) == function_shapes(code)
    annotated = code.replace("(items, limit)", "(items: list[int],\n    limit: int = 3\n) -> int")
    assert function_shapes(
        "class A:\n" + "\n".join("    " + line for line in annotated.splitlines())
    ) == function_shapes(code)
    body = ast.get_source_segment(code, ast.parse(code).body[0].body[1])
    assert body is not None
    bare = "\n".join(code.splitlines()[2:])
    assert function_shapes(bare) == function_shapes(code)
    for old, new in (("% 6", "% 7"), ("<", ">"), ("len", "sum"), ("item **", "total **")):
        assert function_shapes(code.replace(old, new)) != function_shapes(code), old
    for small in (
        "def f(a, b):\n    return a + b\n",
        "def broken(:\n  x",
        "no code",
        "",
        "def f():\n    '''x'''\n",
    ):
        assert function_shapes(small) == []


def test_workers_can_look_rows_up(context: Any, rows: Any, sets: Any) -> None:
    """What is given to ``StoredRows.map`` can be pickled, and says the same then."""
    seen: list[Any] = []

    class Pickled(TableRows):
        def map(self, function: Any, columns: Any = None, *, name: str) -> Any:
            seen.append(name)
            return super().map(pickle.loads(pickle.dumps(function)), columns, name=name)

    table = with_others(rows, planted("renamed", sets) + planted("embedded", sets))
    steps = [Decontaminate(against=["coding", "maths"], n=n) for n in (13, 13, 10)]
    results = [step.judge(Pickled(table), context) for step in steps]
    assert (~results[0].kept).tolist() == table["planted"].to_pylist()
    # What is stored by one name was made with the same items and parameters.
    assert seen[0] == seen[1] != seen[2]
    context.tables["maths"] = context.tables["maths"].slice(1)
    steps[0].judge(Pickled(table), context)
    assert seen[3] != seen[0]
