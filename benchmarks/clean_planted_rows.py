"""Rows that `gristmill run clean` should drop, planted among real ones (`clean_planted.py`).

Three kinds repeat a real row, four an item of an evaluation set, and four are bad answers. Their layouts take
turns: Alpaca, ShareGPT and preference. Each carries its kind in the column `planted`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

DATA = ("code_alpaca", "alpaca_demo", "preferences_demo")
EVALS = ("humaneval", "gsm8k_test_dev", "ifeval_dev")
PER_KIND = 20
#: Kind -> the step of the recipe that should drop its rows, or the rows that they repeat.
KINDS = {
    "equal copy": "distinct",
    "near copy": "apart",
    "copy in other words": "unlike",
    "item": "unseen",
    "item in a longer text": "unseen",
    "program of an item, renamed": "unseen",
    "item in other words": "unseen",
    "no answer": "good",
    "repetition": "good",
    "another language": "spoken",
    "refusal": "helpful",
}
COPIES = ("equal copy", "near copy", "copy in other words")
#: In an answer that is compared as code, or that may count as a refusal.
_NO_PROSE = re.compile(r"[`{}<>=\\\[(;]|[^\x00-\x7f]|\bAI\b|^\s|sorry|cannot|can't", re.MULTILINE)
_FILLERS = ("then", "also", "now", "there", "just", "here")
#: Answers in other languages, and refusals, are put together from these.
_FOREIGN = (
    "Die Mühle am Fluss mahlt den Weizen von neun Höfen, und der Müller behält einen Teil des Mehls.",
    "Le moulin près de la rivière moud le blé de neuf fermes, et le meunier garde une partie de la farine.",
    "El molino junto al río muele el trigo de nueve granjas, y el molinero se queda con parte de la harina.",
    "Il mulino sul fiume macina il grano di nove fattorie, e il mugnaio tiene per sé una parte della farina.",
)
_REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "As an AI language model, I am not able to do this for you.",
    "I apologize, but I cannot assist with that.",
    "I'm unable to provide an answer to this question.",
)


@dataclass(frozen=True)
class Pair:
    """A question and its answer."""

    question: str
    answer: str


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def planted(folder: Path, seed: int = 1) -> list[dict[str, Any]]:
    """The rows of all kinds, `PER_KIND` of each."""
    draw = random.Random(seed)
    made = {**_copies(folder, draw), **_items(folder, draw), **_bad_answers(folder, draw)}
    assert list(made) == list(KINDS)
    assert all(len(pairs) == PER_KIND for pairs in made.values())
    return [
        {**layout(pair), "planted": kind}
        for kind, pairs in made.items()
        # A rejected answer, which the original has not, makes no equal copy.
        for pair, layout in zip(pairs, cycle(_LAYOUTS[: 2 if kind == "equal copy" else 3]))
    ]


def _copies(folder: Path, draw: random.Random) -> dict[str, list[Pair]]:
    """Of ordinary real rows, each of another row."""
    originals = _ordinary(folder, draw)
    return {
        "equal copy": [Pair(f" {q.upper()}", a.replace(" ", "  ")) for q, a in _take(originals)],
        "near copy": [Pair(q, _edited(a)) for q, a in _take(originals)],
        "copy in other words": [Pair(_filled(q, draw), _filled(a, draw)) for q, a in _take(originals)],
    }


def _ordinary(folder: Path, draw: random.Random) -> Iterator[tuple[str, str]]:
    """Questions and answers of Alpaca rows with a prose answer of some length, in any order."""
    rows = [
        row
        for row in read(folder, "alpaca_demo")
        if 80 <= len(row["output"].split()) <= 160 and not _NO_PROSE.search(row["output"])
    ]
    draw.shuffle(rows)
    return ((_question(row), row["output"]) for row in rows)


def _question(row: dict[str, Any]) -> str:
    """As `unify` joins it."""
    return "\n\n".join(filter(None, (row["instruction"], row["input"])))


def _items(folder: Path, draw: random.Random) -> dict[str, list[Pair]]:
    """Of the evaluation sets: word problems and instructions by turns, and programs."""
    problems = [row for row in read(folder, "gsm8k_test_dev") if len(row["question"].split()) > 32]
    instructions = [row for row in read(folder, "ifeval_dev") if len(row["prompt"].split()) > 32]
    draw.shuffle(problems)
    draw.shuffle(instructions)
    prose = iter(
        pair
        for problem, instruction in zip(problems, instructions)
        for pair in (
            (problem["question"], problem["answer"]),
            (instruction["prompt"], "Here is a text that does everything that you asked me for above."),
        )
    )
    programs = [row for row in read(folder, "humaneval") if len(row["canonical_solution"]) > 150]
    return {
        "item": [Pair(f"  {q.upper()}\n", a) for q, a in _take(prose)],
        "item in a longer text": [
            Pair(f"Please help my son with his homework of today.\n{q}\nThank you in advance!", a)
            for q, a in _take(prose)
        ],
        "program of an item, renamed": [
            Pair(f"Write helper number {number} for me.", f"Sure:\n```python\n{_renamed(row)}\n```")
            for number, row in enumerate(draw.sample(programs, PER_KIND))
        ],
        "item in other words": [Pair(_filled(q, draw), _filled(a, draw)) for q, a in _take(prose)],
    }


def _bad_answers(folder: Path, draw: random.Random) -> dict[str, list[Pair]]:
    """To questions of real rows, each about a subject of its own."""
    rows = [row for row in read(folder, "alpaca_demo") if len(_question(row).split()) > 12]
    draw.shuffle(rows)
    questions = iter([(f"{_question(row)} Answer me briefly, please.", "") for row in rows])
    return {
        "no answer": [Pair(q, " \n") for q, _ in _take(questions)],
        "repetition": [Pair(q, f"yes, it is number {n} again " * 40) for n, (q, _) in _numbered(questions)],
        "another language": [Pair(q, _FOREIGN[n % len(_FOREIGN)]) for n, (q, _) in _numbered(questions)],
        "refusal": [Pair(q, _REFUSALS[n % len(_REFUSALS)]) for n, (q, _) in _numbered(questions)],
    }


def _take(pairs: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    return [next(pairs) for _ in range(PER_KIND)]


def _numbered(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[int, tuple[str, str]]]:
    return iter(list(enumerate(_take(pairs))))


def _edited(text: str) -> str:
    """With two words of it replaced."""
    words = text.split(" ")
    words[len(words) // 3] = words[2 * len(words) // 3] = "quite"
    return " ".join(words)


def _filled(text: str, draw: random.Random) -> str:
    """With a word put in after every twelfth: few sequences of words are left, and the meaning is."""
    words: list[str] = []
    for number, word in enumerate(text.split(), start=1):
        words += [word, draw.choice(_FILLERS)] if number % 12 == 0 else [word]
    return " ".join(words)


def _renamed(row: dict[str, Any]) -> str:
    """The program with another name and docstring."""
    code = re.sub(rf"\b{row['entry_point']}\b", "my_helper", row["prompt"] + row["canonical_solution"])
    return re.sub(r'("""|\'\'\')(.*?)\1', '"""Does it."""', code, flags=re.DOTALL)


def _alpaca(pair: Pair) -> dict[str, Any]:
    return {"instruction": pair.question, "input": "", "output": pair.answer}


def _sharegpt(pair: Pair) -> dict[str, Any]:
    turns = [{"from": "human", "value": pair.question}, {"from": "gpt", "value": pair.answer}]
    return {"conversations": turns}


def _preference(pair: Pair) -> dict[str, Any]:
    asked = [{"from": "human", "value": pair.question}]
    rejected = {"from": "gpt", "value": "No."}
    return {"conversations": asked, "chosen": {"from": "gpt", "value": pair.answer}, "rejected": rejected}


_LAYOUTS: Sequence[Callable[[Pair], dict[str, Any]]] = (_alpaca, _sharegpt, _preference)
