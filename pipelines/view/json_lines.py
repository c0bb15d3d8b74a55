"""Events as JSON, one object per line, for programs that watch a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TextIO

from ...contracts.secrets import scrubbed
from ..run.events import Event


class JsonView:
    """Each line has ``event`` (its kind, such as ``StepDone``) and the event's own fields."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def on(self, event: Event) -> None:
        print(json.dumps(plain(event)), file=self._stream, flush=True)


def plain(event: Event) -> dict[str, Any]:
    """An event as JSON-able values, without secrets.

    Numbers that JSON lacks (NaN, infinities) become null.
    """
    fields: dict[str, Any] = scrubbed(asdict(event))
    return {"event": type(event).__name__, **{key: _finite(value) for key, value in fields.items()}}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
