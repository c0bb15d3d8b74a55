"""Make the files of two tasks for the recipe ``weak_to_strong`` from public data, beside GSM8K's own files.

``python benchmarks/weak_to_strong_tasks.py {results|matching} ROWS.jsonl OUT [--longest 400]`` writes
``OUT/questions.jsonl`` and ``OUT/evals.jsonl``, both with ``question`` and ``answer``, for
``gristmill run weak_to_strong --set vars.questions=OUT/questions.jsonl --set vars.evals=OUT/evals.jsonl``.

``results``: what does a function return? ROWS have ``source``, a Python function with doctests, and ``name``.
The question shows the function without its docstring, and a call from the doctests whose result is a number:
at most two calls per function. No row is in both files.

``matching``: which of two outputs belongs to an instruction? ROWS have ``instruction``, ``input`` and
``output`` (Alpaca's form). The wrong output is that of another row, which has most words in common with the
right one. No row is in both files.

``--longest``: the most characters of a function, or of an instruction and its output together. Longer ones
are left out.
"""

from __future__ import annotations

import argparse
import ast
import doctest
import json
import random
import re
from pathlib import Path
from typing import Any

Asked = dict[str, str]
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("results", "matching"))
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--longest", type=int, default=400)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.rows.open()]
    random.Random(1).shuffle(rows)
    evals = rows[: len(rows) * 2 // 5]
    make = results if arguments.task == "results" else matching
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, part in (("questions", rows[len(evals) :]), ("evals", evals)):
        asked = make(part, arguments.longest)
        path = arguments.out / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in asked))
        print(f"{path}: {len(asked)} rows")


def results(rows: list[dict[str, Any]], longest: int) -> list[Asked]:
    """Questions about what the functions in ``source`` return."""
    made = []
    for row in rows:
        code = _without_docstring(row["source"])
        if len(code) > longest:
            continue
        for call, result in _examples(row["source"], row["name"])[:2]:
            question = f"```python\n{code}\n```\n\nWhat does `{call}` return?"
            made.append({"question": question, "answer": f"It returns {result}.\n#### {result}"})
    return made


def _without_docstring(source: str) -> str:
    tree = ast.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _examples(source: str, name: str) -> list[tuple[str, str]]:
    """The calls of ``name`` in the doctests that give a number, and these numbers."""
    try:
        examples = doctest.DocTestParser().get_examples(source)
    except ValueError:
        return []
    found = [(example.source.strip(), example.want.strip()) for example in examples]
    return [(call, want) for call, want in found if call.startswith(f"{name}(") and NUMBER.fullmatch(want)]


def matching(rows: list[dict[str, Any]], longest: int) -> list[Asked]:
    """Questions that show an instruction with its own output and that of another row."""
    short = [row for row in rows if len(row["output"]) >= 40 and len(_told(row) + row["output"]) <= longest]
    words = [set(row["output"].lower().split()) for row in short]
    rng = random.Random(2)
    made = []
    for i, row in enumerate(short):
        others = (j for j in range(len(short)) if j != i and short[j]["output"] != row["output"])
        other = max(others, key=lambda j: len(words[i] & words[j]) / len(words[i] | words[j]))
        right = rng.choice((1, 2))
        outputs = [row["output"], short[other]["output"]]
        if right == 2:
            outputs.reverse()
        question = (
            f"Instruction: {_told(row)}\n\nOutput 1: {outputs[0]}\n\nOutput 2: {outputs[1]}\n\n"
            "Which output belongs to the instruction?"
        )
        made.append({"question": question, "answer": f"It is output {right}.\n#### {right}"})
    return made


def _told(row: dict[str, Any]) -> str:
    return f"{row['instruction']}\n{row['input']}" if row["input"] else str(row["instruction"])


if __name__ == "__main__":
    main()
