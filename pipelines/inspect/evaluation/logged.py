"""The tasks in logs of lm-evaluation-harness: `samples_TASK_TIME.jsonl`, as written by `--log_samples`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def is_log(row: Mapping[str, Any]) -> bool:
    """Is it a row of such a log: a task with the answers of a model to it?"""
    return {"doc_id", "doc"} <= row.keys() and isinstance(row["doc"], dict) and "arguments" in row


def tasks_in(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The tasks of a log, each once: a log has a row for each task and each filter of its answers."""
    seen = set()
    for row in rows:
        if row["doc_id"] not in seen:
            seen.add(row["doc_id"])
            yield row["doc"]
