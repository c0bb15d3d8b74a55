"""Exact, code-aware and substring deduplication beside polars, pandas and a Python set.

    python benchmarks/filters_exact.py [--rows N] [--data DIR]

Each case runs three times in fresh processes, the libraries in turn; the medians are printed and written to
`results/filters_exact.json`. The texts are those
of the JSON Lines files in DIR, made distinct by a number, or synthetic. A fifth of the rows are planted
copies: equal ones for `bare`, with other case and white space for `prose`, with other line ends for `auto`,
with renamed variables and other comments for `python`; for `substring`, rows that share a passage of 200
characters or more with a row of noise. Precision and recall are measured against them. Memory: what the case
takes beyond the texts. The peers compare the texts as they are, except for `set, folded`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measuring import Figure

#: The versions of the peers.
PEER_VERSIONS = Path(__file__).with_name("requirements.txt")
CASES = {
    "bare": ["ours", "polars", "pandas", "set"],
    "prose": ["ours", "set, folded"],
    "auto": ["ours"],
    "python": ["ours"],
    "substring": ["ours"],
}
PEERS = ("polars", "pandas")
#: Python and passages are long texts, of which there are fewer.
SHARE_OF_ROWS = {"python": 0.02, "substring": 0.02}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder of JSON Lines files with real texts")
    parser.add_argument("--case", choices=CASES, action="append", help="only this case")
    parser.add_argument("--peers", default="", help="interpreter of the peers; by default benchmarks/.peers")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "LIBRARY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(*arguments.child)))
        return
    from measuring import Case, run_case, versions, write

    found: dict[str, dict[str, dict[str, float]]] = {}
    for case in arguments.case or CASES:
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            rows = int(arguments.rows * SHARE_OF_ROWS.get(case, 1))
            plant(case, rows, arguments.data, file.name)
            runs: dict[str, list[Case]] = {library: [] for library in CASES[case]}
            for _ in range(3):
                for library, done in runs.items():
                    done.append(run_case(command(library, case, file.name, arguments.peers)))
            found[case] = {
                library: middle(rows, [each.answer for each in done]) for library, done in runs.items()
            }
            for library, figures in found[case].items():
                show(case, library, rows, figures)
    packages = versions("pyarrow", "numpy", "numba")
    write(
        "filters_exact", compared(found, arguments.rows), packages, {"cases": found, "load": os.getloadavg()}
    )


def compared(found: dict[str, dict[str, dict[str, float]]], rows: int) -> list[Figure]:
    """Ours beside polars, which compares the texts as they are."""
    from measuring import Figure

    peer = found.get("bare", {}).get("polars")
    if peer is None:
        return []
    version = next(line for line in PEER_VERSIONS.read_text().splitlines() if line.startswith("polars=="))
    return [
        Figure(
            f"exact, {rows:,} short texts, {case}",
            "rows/s",
            found[case]["ours"]["rows_per_second"],
            peer["rows_per_second"],
            "polars",
            version.removeprefix("polars=="),
            found[case]["ours"]["rows_per_second"] / peer["rows_per_second"],
            "1.0",
        )
        for case in ("bare", "prose")
        if case in found
    ]


def command(library: str, case: str, file: str, peers: str) -> list[str]:
    from measuring import peers_python, this_python

    arguments = [__file__, "--child", case, library, file]
    return [peers or str(peers_python()), *arguments] if library in PEERS else this_python(*arguments)


def middle(rows: int, answers: list[dict[str, Any]]) -> dict[str, float]:
    """The medians."""
    found = {name: statistics.median([each[name] for each in answers]) for name in answers[0]}
    return {"rows": rows, "rows_per_second": rows / found["seconds"], **found}


def show(case: str, library: str, rows: int, figures: dict[str, float]) -> None:
    print(
        f"{case:<10} {library:<12} {rows:>9,} rows  {figures['rows_per_second']:>12,.0f} rows/s  "
        f"CPU {figures['cpu']:>7.2f} s  memory {figures['mib']:>7.0f} MiB  "
        f"precision {figures['precision']:.4f}  recall {figures['recall']:.4f}",
        flush=True,
    )


# --- the planted copies --------------------------------------------------------------------------


def plant(case: str, rows: int, folder: Path | None, file: str) -> None:
    """Write the columns `text` and `copy` (whether the row is a copy of an earlier one)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = random.Random(13)
    if case == "python":
        originals = [program(chance, number) for number in range(rows * 4 // 5)]
    elif case == "substring":
        originals = [f"{noise(chance, 60)} {number} {noise(chance, 60)}" for number in range(rows * 4 // 5)]
    else:
        texts = real_texts(folder) if folder else synthetic_texts(chance)
        originals = [f"{chance.choice(texts)[:160]} {number}" for number in range(rows * 4 // 5)]
    copies = [copied(case, chance.choice(originals), chance) for _ in range(rows - len(originals))]
    table = pa.table({"text": originals + copies, "copy": [False] * len(originals) + [True] * len(copies)})
    pq.write_table(table, file)


def real_texts(folder: Path) -> list[str]:
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
    values = [value for line in lines for value in json.loads(line).values() if isinstance(value, str)]
    return sorted({value for value in values if len(value) > 20})


def synthetic_texts(chance: random.Random) -> list[str]:
    return [noise(chance, chance.randint(4, 25)).capitalize() + "." for _ in range(20_000)]


def noise(chance: random.Random, words: int) -> str:
    return " ".join(
        "".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9))) for _ in range(words)
    )


def program(chance: random.Random, number: int) -> str:
    lines = [
        f"    total = total {chance.choice('+-*')} {chance.randint(0, 99)} * len(str(items))"
        for _ in range(8)
    ]
    return "\n".join([f"def case_{number}(items):", "    total = 0", *lines, "    return total"])


def copied(case: str, text: str, chance: random.Random) -> str:
    if case == "prose":
        return "  " + text.swapcase().replace(" ", " \n")
    if case == "auto":
        return text + " \n"
    if case == "python":
        body = text.replace("total", "acc").replace("items", "xs").replace("\n", "  # step\n", 3)
        return f"Here is the program:\n```python\n{body}\n```\nDone."
    if case == "substring":
        start = chance.randrange(len(text) - 200)
        return f"{noise(chance, 20)} {text[start : start + chance.randint(200, 400)]} {noise(chance, 20)}"
    return text


# --- one case, in its own process ----------------------------------------------------------------


def measured(case: str, library: str, file: str) -> dict[str, float]:
    found, figures = timed(prepared(case, library, file))
    # Read only now: what it leaves behind would be used, and not be counted.
    import pyarrow.parquet as pq

    return figures | quality([bool(each) for each in found], pq.read_table(file)["copy"].to_pylist())


def prepared(case: str, library: str, file: str) -> Callable[[], Any]:
    """What is timed; it tells for each row whether it is a copy."""
    if library == "polars":
        import polars as pl

        texts = pl.read_parquet(file, columns=["text"])["text"]
        return lambda: ~texts.is_first_distinct()
    if library == "pandas":
        import pandas as pd

        column = pd.read_parquet(file, columns=["text"])["text"]
        return column.duplicated

    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=["text"])
    if library == "ours":
        return ours(case, table)
    values = table["text"].to_pylist()
    fold: Callable[[str], str] = (lambda text: " ".join(text.casefold().split())) if "," in library else str
    return lambda: seen(values, fold)


def ours(case: str, table: Any) -> Callable[[], Any]:
    from gristmill.contracts.stored_rows import TableRows
    from gristmill.filters.dedup.exact import ExactDedup
    from gristmill.filters.dedup.substring import SubstringDedup

    class Running:
        def check(self) -> None:
            return

    if case == "substring":
        operator: Any = SubstringDedup(column="text")
    else:
        operator = ExactDedup(columns=("text",), normalize="none" if case == "bare" else case)
    operator.judge(TableRows(table.slice(0, 10)), Running())  # imports
    return lambda: operator.judge(TableRows(table), Running()).duplicate_of >= 0


def seen(texts: list[str], fold: Callable[[str], str]) -> list[bool]:
    known: set[str] = set()
    found = []
    for text in texts:
        text = fold(text)
        found.append(text in known)
        known.add(text)
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, with the seconds it took and the memory beyond what was held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, cpu, wall = memory("VmRSS"), cpu_seconds(), time.perf_counter()
    answer = work()
    seconds = time.perf_counter() - wall
    return answer, {"seconds": seconds, "cpu": cpu_seconds() - cpu, "mib": memory("VmHWM") - before}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def quality(found: list[bool], planted: list[bool]) -> dict[str, float]:
    right = sum(map(bool.__and__, found, planted))
    return {"precision": right / max(sum(found), 1), "recall": right / max(sum(planted), 1)}


if __name__ == "__main__":
    main()
