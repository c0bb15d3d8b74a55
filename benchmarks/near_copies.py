"""Real passages with planted near-copies, and the truth about what a deduplicator removed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

#: Docstrings of installed packages: English prose, tables and code, with its own natural near-copies.
_DOCSTRING = re.compile(r'"""(.{200,}?)"""', re.DOTALL)
_WORD = re.compile(r"\w+")


def texts(data: Path, packages: Path) -> Iterator[str]:
    """The texts of the JSON Lines files in ``data``, then the docstrings of ``packages``."""
    for path in sorted(data.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield "\n".join(value for value in json.loads(line).values() if isinstance(value, str))
    for path in sorted(packages.rglob("*.py")):
        try:
            content = path.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        yield from (found.group(1) for found in _DOCSTRING.finditer(content))


def passages(data: Path, packages: Path, rows: int, draw: random.Random) -> list[str]:
    """``rows`` passages of 20 to 400 words, cut from the texts and shuffled.

    Raises SystemExit if there is not enough text.
    """
    found = []
    for text in texts(data, packages):
        words, start = text.split(" "), 0
        while start < len(words):
            length = min(400, max(20, int(draw.lognormvariate(4.2, 0.5))))
            passage = " ".join(words[start : start + length]).strip()
            start += length
            if len(passage.split()) >= 15:
                found.append(passage)
    if len(found) < rows:
        raise SystemExit(f"--data and the installed packages give {len(found)} passages; {rows} are needed")
    draw.shuffle(found)
    return found[:rows]


def near_copy(text: str, vocabulary: Sequence[str], draw: random.Random) -> str:
    """Replace, delete or insert up to 8 % of the words."""
    words = text.split(" ")
    for _ in range(max(1, round(len(words) * draw.uniform(0.005, 0.08)))):
        place = draw.randrange(len(words))
        kind = draw.random()
        if kind < 0.4:
            words[place] = draw.choice(vocabulary)
        elif kind < 0.7 and len(words) > 1:
            del words[place]
        else:
            words.insert(place, draw.choice(vocabulary))
    return " ".join(words)


def documents(data: Path, packages: Path, rows: int, seed: int = 0) -> pa.Table:
    """``rows`` documents, 30 % of them near-copies: ``_id``, ``text`` and ``copy_of`` (row number, or -1)."""
    draw = random.Random(seed)
    base = passages(data, packages, round(rows * 0.7), draw)
    vocabulary = [word for text in base[:2000] for word in text.split()]
    sources = [draw.randrange(len(base)) for _ in range(rows - len(base))]
    found = base + [near_copy(base[source], vocabulary, draw) for source in sources]
    order = list(range(rows))
    draw.shuffle(order)
    place = {number: row for row, number in enumerate(order)}
    copy_of = [-1] * len(base) + [place[source] for source in sources]
    return pa.table(
        {
            "_id": [str(row) for row in range(rows)],
            "text": [found[number] for number in order],
            "copy_of": [copy_of[number] for number in order],
        }
    )


class Truth:
    """The exact Jaccard similarities of word 3-grams, computed apart from what is measured."""

    def __init__(self, table: pa.Table, threshold: float) -> None:
        from scipy.sparse import csr_array

        numbers: dict[str, int] = {}
        flat: list[int] = []
        offsets = [0]
        for text in table.column("text").to_pylist():
            flat += [numbers.setdefault(gram, len(numbers)) for gram in word_3grams(text)]
            offsets.append(len(flat))
        shape = (table.num_rows, len(numbers))
        self.threshold = threshold
        self.grams = csr_array((np.ones(len(flat), np.int32), flat, offsets), shape=shape)
        self.sizes = np.diff(offsets)
        copy_of = table.column("copy_of").to_numpy()
        self.copy = np.flatnonzero(copy_of >= 0)
        self.source = copy_of[self.copy]
        shared = self.grams[self.copy].multiply(self.grams[self.source]).sum(axis=1)
        union = self.sizes[self.copy] + self.sizes[self.source] - shared
        self.similarity = shared / np.maximum(union, 1)

    def judge(self, kept: np.ndarray) -> dict[str, float]:
        """Recall: of the planted pairs at the threshold, those of which one row was removed. Precision: of
        the removed rows, those with another row at the threshold, found by comparing with all rows."""
        planted = self.similarity >= self.threshold
        found = ~kept[self.copy] | ~kept[self.source]
        near = planted & (self.similarity < self.threshold + 0.1)
        removed = ~kept
        explained = np.zeros(len(kept), bool)
        explained[self.copy[planted]] = explained[self.source[planted]] = True
        doubtful = np.flatnonzero(removed & ~explained)
        wrong = sum(self._alone(doubtful[at : at + 1000]) for at in range(0, len(doubtful), 1000))
        return {
            "recall": float(found[planted].mean()),
            "recall_near_threshold": float(found[near].mean()),
            "precision": 1 - wrong / max(int(removed.sum()), 1),
            "removed": int(removed.sum()),
        }

    def _alone(self, rows: np.ndarray) -> int:
        """How many of the rows have no other row at the threshold."""
        shared = (self.grams[rows] @ self.grams.T).tocoo()
        union = self.sizes[rows[shared.row]] + self.sizes[shared.col] - shared.data
        alike = (shared.data / union >= self.threshold) & (rows[shared.row] != shared.col)
        return len(rows) - len(np.unique(shared.row[alike]))


def word_3grams(text: str) -> set[str]:
    """Three words in a row, case folded; the whole text if it has fewer."""
    words = _WORD.findall(text.casefold())
    return {" ".join(words[at : at + 3]) for at in range(len(words) - 2)} or {f"only: {text}"}
