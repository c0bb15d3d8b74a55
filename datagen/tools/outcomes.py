"""What became of each call of a turn, and the turns of tools that say so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.errors import DataError
from ...contracts.turns import Turn
from ..sandbox.jobs import RunScript
from ..sandbox.results import JobResult, Status

#: The program that calls tools in the sandbox.
PROGRAM = Path(__file__).with_name("called.py").read_text(encoding="utf-8")
#: How a run can end before its calls are answered.
_ENDINGS = (Status.TIMEOUT, Status.MEMORY, Status.KILLED, Status.REFUSED)


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """``verdict``: ``passed`` or what was wrong. ``text``: the result of a call that passed, else why it did
    not."""

    verdict: str
    text: str

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def content(self) -> str:
        """What the model is told."""
        return self.text if self.passed else f"Error: {self.text}"


#: A tool wrote where its process answers.
_WROTE = CallOutcome("failed", "the tool wrote between the answers")
_LOST = CallOutcome("failed", "it was not called, as the call before it ended the process")


def job(code: str, calls: Sequence[tuple[str, dict[str, Any]]], longest: int) -> RunScript:
    """Return the run of these calls, each a tool's name and its arguments, one after the other."""
    asked = {
        "code": code,
        "calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
        "longest": longest,
    }
    return RunScript(PROGRAM, stdin=json.dumps(asked))


def read(result: JobResult, count: int) -> list[CallOutcome]:
    """Return the outcome of each of ``count`` calls of a run.

    Raises DataError if the code of the tools could not be loaded, or defines no such tool.
    """
    lines = _lines(result.stdout)
    first = lines[0] if lines else {}
    if "loaded" not in first:
        wrote = "it wrote before the answers" if "wrote" in first else ""
        why = wrote or first.get("error") or result.message or "it ended the process"
        raise DataError(f"the code of the tools cannot be loaded: {why}")
    found = [_outcome(line) for line in lines[1 : count + 1]]
    if len(found) < count and _WROTE not in found:
        ended = result.status in _ENDINGS
        why = result.message if ended else "the tool ended its process"
        found.append(CallOutcome(result.status.value if ended else "failed", why))
    return [*found, *[_LOST] * (count - len(found))]


def turn_of(call: Turn, outcome: CallOutcome) -> Turn:
    """Return the tool's answer to a call as a turn, with ``is_error`` if it failed."""
    about = {"role": "tool", "content": outcome.content, "name": call["function"]["name"]}
    named = {} if call.get("id") is None else {"tool_call_id": call["id"]}
    return {**about, **named, **({} if outcome.passed else {"is_error": True})}


def _lines(text: str) -> list[dict[str, Any]]:
    """Return the lines of the program. A last line that the limit on output has cut is none."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _outcome(line: dict[str, Any]) -> CallOutcome:
    """Return the outcome of a call. The process that answers belongs to the tools: its line may be any."""
    match line:
        case {"missing": str(name)}:
            raise DataError(
                f"the code of the tools defines no function {name!r}, which was offered: define it, "
                "or add it to `TOOLS`, a dict of the tools by their names"
            )
        case {"result": str(text)}:
            return CallOutcome("passed", text)
        case {"long": int(length)}:
            return CallOutcome("too_long", f"the result has {length:,} characters")
        case {"unfit": str(why)}:
            return CallOutcome("no_result", f"the result is neither text nor JSON: {why}")
        case {"error": str(why)}:
            return CallOutcome("failed", why)
        case {"empty": True}:
            return CallOutcome("no_result", "no result")
    return _WROTE
