"""Decontamination against HumanEval, GSM8K and IFEval together: ours beside datatrove, and what each finds.

200,000 documents of real text with planted items: verbatim, in other case and spacing, inside a longer text,
and programs with other names. Each case runs in a process of its own, alternating, three times.

    python benchmarks/filters_decontaminate.py --data FOLDER [--rows 200000] [--peer-rows 30000]

datatrove's time per row does not depend on their number, so it gets fewer rows. The result says how many each
had. Its clock, as ours, starts before the items are indexed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE / ".peers" / "bin" / "python"
KINDS = ("verbatim", "recased", "embedded", "renamed")
PER_KIND = 20


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def items(folder: Path) -> dict[str, list[str]]:
    """The texts of the evaluation sets, as one text per item."""
    return {
        "humaneval": [row["prompt"] + row["canonical_solution"] for row in read(folder, "humaneval.jsonl")],
        "gsm8k": [f"{row['question']}\n{row['answer']}" for row in read(folder, "gsm8k_test_dev.jsonl")],
        "ifeval": [row["prompt"] for row in read(folder, "ifeval_dev.jsonl")],
    }


def documents(folder: Path, rows: int) -> tuple[list[str], list[str]]:
    """Texts, and for each the kind of contamination that was planted ("" for none).

    The others are problems of GSM8K's training split, of which the words are shuffled, so that no
    13-gram of an item is among them by chance.
    """
    draw = random.Random(7)
    base = [f"{row['question']} {row['answer']}".split() for row in read(folder, "gsm8k_train.jsonl")]
    texts, kinds = [], []
    for number in range(rows - len(KINDS) * PER_KIND):
        words = base[number % len(base)]
        texts.append(" ".join(draw.sample(words, len(words))))
        kinds.append("")
    sets = items(folder)
    prose = sets["gsm8k"] + [text for text in sets["ifeval"] if len(text.split()) > 20]
    # Programs of some size: smaller ones are alike by chance.
    code = [
        row["prompt"] + row["canonical_solution"]
        for row in read(folder, "humaneval.jsonl")
        if len(row["canonical_solution"].splitlines()) >= 8
    ]
    for kind in KINDS:
        for text in draw.sample(code if kind == "renamed" else prose, PER_KIND):
            at = draw.randrange(len(texts) + 1)
            texts.insert(at, planted(kind, text, base[at % len(base)]))
            kinds.insert(at, kind)
    return texts, kinds


def planted(kind: str, text: str, others: list[str]) -> str:
    if kind == "recased":
        return text.upper().replace(" ", "  ")
    if kind == "embedded":
        return " ".join(others) + "\n" + text + "\n" + " ".join(others)
    if kind == "renamed":
        return renamed(text)
    return text


def renamed(code: str) -> str:
    """The program without its docstrings, with other names for its functions, arguments and variables."""
    import ast
    import builtins

    tree = ast.parse(code)
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own -= set(dir(builtins))
    new = {name: f"renamed_{number}" for number, name in enumerate(sorted(own))}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.name = new.get(node.name, node.name)
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Name):
            node.id = new.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = new.get(node.arg, node.arg)
    return ast.unparse(tree)


def ours(folder: Path, rows: int) -> None:
    import pyarrow as pa

    from gristmill.contracts.stored_rows import TableRows
    from gristmill.filters.dedup.decontaminate import Decontaminate

    class Tables:
        """The context of a step that reads tables and nothing else."""

        def __init__(self, tables: dict[str, pa.Table]) -> None:
            self.table = tables.__getitem__

        def check(self) -> None:
            return

    texts, kinds = documents(folder, rows)
    sets = items(folder)
    table = pa.table({"_id": [str(i) for i in range(len(texts))], "response": texts})
    context = Tables(
        {
            name: pa.table({"_id": [f"{name}{i}" for i in range(len(some))], "response": some})
            for name, some in sets.items()
        }
    )
    started, used = time.perf_counter(), time.process_time()
    result = Decontaminate(against=tuple(sets)).judge(TableRows(table), context)  # type: ignore[arg-type]
    figures = seconds(started, used)
    report(figures, (~result.kept).tolist(), kinds)


def datatrove(folder: Path, rows: int) -> None:
    """Its filter, with the n-grams of the same items. Its indexer would download the sets."""
    import tempfile

    from datatrove.data import Document
    from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    texts, kinds = documents(folder, rows)
    sets = items(folder)
    config = NGramsDecontConfig(n_grams=13)
    with tempfile.TemporaryDirectory() as place:
        started, used = time.perf_counter(), time.process_time()
        check = NGramsDecontFilter(place, config=config)
        check._index_hashes = {
            check.hash_func(" ".join(gram)): name
            for name, some in sets.items()
            for text in some
            for gram in ngrams(check.tokenizer.word_tokenize(simplify_text(text, config.norm_config)), 13)
        }
        bad = [check.filter(Document(text=text, id=str(i))) is not True for i, text in enumerate(texts)]
        report(seconds(started, used), bad, kinds)


def seconds(started: float, used: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}


def report(figures: dict[str, float], bad: list[bool], kinds: list[str]) -> None:
    found = {kind: sum(hit for hit, each in zip(bad, kinds) if each == kind) for kind in KINDS}
    right = sum(found.values())
    print(json.dumps({**figures, "found": found, "precision": right / max(1, sum(bad)), "rows": len(kinds)}))


def main() -> None:
    sys.path.insert(0, str(HERE))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--peer-rows", type=int, default=30_000, help="of datatrove")
    parser.add_argument("--case", choices=["ours", "datatrove"])
    asked = parser.parse_args()
    if asked.case is not None:
        {"ours": ours, "datatrove": datatrove}[asked.case](asked.data, asked.rows)
        return
    import measuring

    cases: dict[str, list[measuring.Case]] = {"ours": [], "datatrove": []}
    for _ in range(3):
        for name, found in cases.items():
            python, rows = (sys.executable, asked.rows) if name == "ours" else (str(PEERS), asked.peer_rows)
            command = [python, __file__, "--data", str(asked.data), "--rows", str(rows), "--case", name]
            found.append(measuring.run_case(command, timeout=3600))
            print(name, found[-1].answer, flush=True)
    speed = {
        name: measuring.median([each.answer["rows"] / each.answer["seconds"] for each in found])
        for name, found in cases.items()
    }
    figure = measuring.Figure(
        what=f"n-gram decontamination of {asked.rows:,} rows ({asked.peer_rows:,} by the peer)",
        unit="rows/s",
        ours=speed["ours"],
        peer=speed["datatrove"],
        peer_name="datatrove",
        peer_version=peer_version("datatrove"),
        ratio=speed["ours"] / speed["datatrove"],
        aim="at least 5",
    )
    more = {
        name: {"runs": [each.answer for each in found], "peak_mib": max(each.peak_mib for each in found)}
        for name, found in cases.items()
    }
    measuring.write("filters_decontaminate", [figure], measuring.versions("numpy", "pyarrow"), more)


def peer_version(name: str) -> str:
    import subprocess

    code = f"from importlib.metadata import version; print(version('{name}'))"
    return subprocess.run([PEERS, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
