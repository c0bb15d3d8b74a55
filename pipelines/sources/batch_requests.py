"""The answers of a batch joined with the requests that they answer: OpenAI's two files of one batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...contracts.errors import DataError
from ...contracts.layouts import RowReader
from ...contracts.openai_rows import openai_log
from ...contracts.operators import FAILURE
from ...contracts.turns import from_json
from .json_lines import LineBlock, checked, rows_of
from .locations import File

#: The name that a request and its answer share.
CUSTOM_ID = "custom_id"


@dataclass(frozen=True, slots=True)
class BatchAnswers(RowReader):
    """Reads the answers of a batch, each as the conversation that its request and it make.

    ``requests``: the files of the requests. A row without a request, or without an answer, says why in
    ``FAILURE``.
    """

    requests: tuple[File, ...] = ()

    def read(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with ``messages`` and ``tools``. Raises ValueError if it is no answer of a batch."""
        name = row.get(CUSTOM_ID)
        if not isinstance(name, str) or "response" not in row:
            raise ValueError(
                f"with `requests`, a row is an answer of a batch, with {CUSTOM_ID} and response; its columns "
                f"are {', '.join(sorted(row)) or 'none'}"
            )
        stamps = tuple(file.stamp() if file.local else (0, 0) for file in self.requests)
        body = _bodies(self.requests, stamps).get(name)
        rest = {key: value for key, value in row.items() if key not in ("response", "error")}
        answered = from_json(row["response"])
        if body is None:
            files = ", ".join(file.name for file in self.requests)
            return rest | {FAILURE: f"no request has the {CUSTOM_ID} {name!r} in {files}"}
        if (reason := _unanswered(row.get("error"), answered)) is not None:
            return rest | {FAILURE: f"the batch has no answer to {name!r}: {reason}"}
        made = openai_log({**rest, "request": body, "response": answered["body"]})
        return rest | {FAILURE: f"{name!r} is no chat completion"} if made is None else made


def _unanswered(error: Any, answered: Any) -> str | None:
    """Why there is no answer; None if there is one."""
    body = answered.get("body") if isinstance(answered, Mapping) else None
    status = answered.get("status_code") if isinstance(answered, Mapping) else None
    error = from_json(error) or (body.get("error") if isinstance(body, Mapping) else None)
    if error is None and isinstance(body, Mapping) and status in (None, 200):
        return None
    message = error.get("message") or error.get("code") if isinstance(error, Mapping) else error
    return f"{message or 'it is empty'}" + (f" (status {status})" if status else "")


@lru_cache(maxsize=4)
def _bodies(files: tuple[File, ...], stamps: tuple[tuple[int, int], ...]) -> Mapping[str, Any]:
    """The bodies of the requests by their ``custom_id``. ``stamps``: of the files, which may change.

    Raises DataError for a line that is no request, and for a name that two requests have.
    """
    found: dict[str, Any] = {}
    for file in files:
        for row, place, _ in rows_of(LineBlock(file), checked):
            name, body = row.get(CUSTOM_ID), from_json(row.get("body"))
            if not isinstance(name, str) or not isinstance(body, Mapping):
                raise DataError(
                    f"{place}: is no request of a batch: it needs {CUSTOM_ID} and body; found "
                    f"{json.dumps(row, ensure_ascii=False)[:60]}: name the file that was sent in `requests`"
                )
            if name in found:
                raise DataError(f"{place}: another request has the {CUSTOM_ID} {name!r} too: name one batch")
            found[name] = body
    return found
