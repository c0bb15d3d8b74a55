"""Do our 25 kinds of IFEval decide as IFEval's own code does? Counts the disagreements per kind.

``python benchmarks/ifeval_agreement.py ITEMS.jsonl ANSWERS... [--texts 2400] [--seed 1]``, in an environment
with ``gristmill[ifeval]`` and what ``ifeval_peer.py`` names. ITEMS: IFEval's items (``instruction_id_list``,
``kwargs``). ANSWERS: JSON Lines or Parquet files whose rows have the answer in ``response`` or ``output``.

Every answer is checked by all 25 kinds, with the parameters of a random item: a third of the times as it is,
a third changed towards what the check asks for, a third also as chat models wrap an answer. The loose rules
are compared on one answer in eight. langdetect is seeded alike on both sides; how often IFEval then disagrees
with itself on these when it is not seeded, as in its own runs, is counted apart.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ifeval_peer as peer
import pyarrow.parquet as pq
from ifeval_shapes import near, wrapped

from gristmill.datagen.constraints.check import Check
from gristmill.datagen.constraints.ifeval import IFEVAL
from gristmill.datagen.constraints.ifeval.optional import SEED
from gristmill.datagen.constraints.loose import holds_loosely
from gristmill.datagen.constraints.of_rows import checks_of

#: The loose rules make eight texts of one, so they are compared on one answer in this many.
SELDOM = 8
LANGUAGES = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", type=Path)
    parser.add_argument("answers", type=Path, nargs="+")
    parser.add_argument("--texts", type=int, default=2400, help="number of different answers")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    asked = _asked(arguments.items)
    texts = sorted({text for path in arguments.answers for text in _answers(path) if text.strip()})
    texts = rng.sample(texts, min(arguments.texts, len(texts)))
    counts, examples, unseeded = _compare(asked, texts, rng)
    _print(counts, examples, unseeded, len(texts))


def _asked(items: Path) -> dict[str, list[tuple[dict[str, Any], Check]]]:
    """Kind -> the parameters and the check of each item that has it."""
    found: dict[str, list[tuple[dict[str, Any], Check]]] = defaultdict(list)
    for line in items.open():
        row = json.loads(line)
        for kind, given, check in zip(row["instruction_id_list"], row["kwargs"], checks_of(row)):
            found[kind].append((given, check))
    if missing := set(IFEVAL) - set(found):
        raise SystemExit(f"the items have none of {', '.join(sorted(missing))}")
    return found


def _answers(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        names = pq.read_schema(path).names
        yield from (
            pq.read_table(path, columns=["response"])["response"].to_pylist() if "response" in names else []
        )
        return
    for line in path.open():
        row = json.loads(line)
        yield row.get("response") or row.get("output") or ""


def _compare(
    asked: dict[str, list[tuple[dict[str, Any], Check]]], texts: list[str], rng: random.Random
) -> tuple[Counter[tuple[str, str]], dict[str, list[str]], Counter[str]]:
    counts: Counter[tuple[str, str]] = Counter()
    unseeded: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    for number, text in enumerate(texts):
        for kind in IFEVAL:
            given, check = rng.choice(asked[kind])
            response = _changed(kind, given, text, rng)
            peer.seed_languages(SEED)
            theirs, ours = peer.verdict(kind, given, response, loose=False), check.check(response, "")
            counts[kind, "passes" if theirs else "failures"] += 1
            if theirs != ours:
                counts[kind, "disagree"] += 1
                examples[kind].append(f"{given} IFEval {theirs}: {response[:160]!r}")
            if number % SELDOM:
                continue
            theirs = peer.verdict(kind, given, response, loose=True)
            counts[kind, "loose"] += 1
            counts[kind, "loose passes"] += theirs
            counts[kind, "loose disagree"] += theirs != holds_loosely(check, response, "")
            if kind in LANGUAGES:
                peer.seed_languages(None)
                unseeded[kind] += peer.verdict(kind, given, response, loose=False) != ours
    return counts, examples, unseeded


def _changed(kind: str, given: dict[str, Any], text: str, rng: random.Random) -> str:
    how = rng.randrange(3)
    response = text if how == 0 else near(kind, given, text, rng)
    return wrapped(response, rng) if how == 2 else response


def _print(
    counts: Counter[tuple[str, str]], examples: dict[str, list[str]], unseeded: Counter[str], texts: int
) -> None:
    columns = ("passes", "failures", "disagree", "loose", "loose passes", "loose disagree")
    print(f"{texts} answers, each checked by {len(IFEVAL)} kinds\n")
    print(f"| kind | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for kind in IFEVAL:
        print(f"| `{kind}` | {' | '.join(str(counts[kind, column]) for column in columns)} |")
    print(f"| all | {' | '.join(str(sum(counts[kind, name] for kind in IFEVAL)) for name in columns)} |")
    print("\nunseeded, IFEval differs from its seeded verdict:", dict(unseeded))
    for kind, told in examples.items():
        print(f"\n{kind}", *told[:5], sep="\n  ")


if __name__ == "__main__":
    main()
