"""The tasks in logs of lm-evaluation-harness: `samples_TASK_TIME.jsonl`, as written by `--log_samples`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ....contracts.errors import GristmillError


def is_log(row: Mapping[str, Any]) -> bool:
    """Is it a row of such a log: a task with the answers of a model to it?"""
    return {"doc_id", "doc"} <= row.keys() and isinstance(row["doc"], dict) and "arguments" in row


def tasks_in(rows: Iterable[Mapping[str, Any]], path: str) -> Iterator[Mapping[str, Any]]:
    """The tasks of a log, each once: a log has a row for each task and each filter of its answers.

    Raises GristmillError, with ``path`` and the row, for a row of an id that another task has.
    """
    docs: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        doc = json.dumps(row["doc"], sort_keys=True)
        name = json.dumps(row["doc_id"], sort_keys=True)
        if name not in docs:
            docs[name] = doc
            yield row["doc"]
        elif docs[name] != doc:
            raise GristmillError(
                f"{path}: row {number} has the doc_id {name:.60} of an earlier row, and another doc: give "
                "the logs of several tasks as a file each"
            )
