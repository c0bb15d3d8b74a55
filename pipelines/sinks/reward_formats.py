"""The shapes in which reinforcement learning from verifiable rewards reads tasks: prompt, truth, verifier.

``grpo``: TRL's GRPOTrainer, whose rewards take ``solution``. ``verifiers``: environments of Prime Intellect's
library. ``rlvr``: Ai2's open-instruct (Lambert et al., Tulu 3, arXiv 2411.15124), where ``dataset`` names the
verifier. Each function raises DataError, with the row and the fix, for a row that does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ...contracts.errors import DataError
from ...contracts.json_values import plain
from ...contracts.rows import Row, turns_in, without_nulls
from .turns import Turn, beside_text, name_of

#: Format -> its column of turns, and its texts.
TASKS: Mapping[str, tuple[str, str, str]] = {
    "grpo": ("prompt", "solution", "verifier"),
    "verifiers": ("prompt", "answer", "task"),
    "rlvr": ("messages", "ground_truth", "dataset"),
}
#: The columns that a row needs beside its prompt.
NEEDED = ("answer", "verifier")


def to_grpo(row: Row) -> Row:
    """``prompt`` (turns), ``solution`` and ``verifier``."""
    return {"prompt": _prompt(row), "solution": _truth(row), "verifier": _verifier(row)}


def to_verifiers(row: Row) -> Row:
    """``prompt`` (turns), ``answer`` and ``task``, which names the verifier."""
    return {"prompt": _prompt(row), "answer": _truth(row), "task": _verifier(row)}


def to_rlvr(row: Row) -> Row:
    """``messages`` (turns), ``ground_truth`` and ``dataset``, which names the verifier."""
    return {"messages": _prompt(row), "ground_truth": _truth(row), "dataset": _verifier(row)}


def _prompt(row: Row) -> list[Turn]:
    """Return the turns up to the user's last. An answer after it is no part of the task."""
    if row.get("messages") is not None:
        turns = [without_nulls(turn) for turn in turns_in(row["messages"]) or []]
    elif isinstance(row.get("prompt"), str):
        system = row.get("system")
        turns = [{"role": "system", "content": system}] if isinstance(system, str) else []
        turns += [{"role": "user", "content": row["prompt"]}]
    else:
        raise DataError("it has neither 'messages' nor a text in 'prompt'", row=name_of(row))
    if turns and turns[-1].get("role") == "assistant":
        turns = turns[:-1]
    if not turns or turns[-1].get("role") != "user":
        raise DataError("its prompt does not end with the user's turn", row=name_of(row))
    lost = next((key for turn in turns for key in beside_text(turn)), None)
    lost = lost or ("tools" if row.get("tools") else None)
    if lost is not None:
        raise DataError(
            f"its prompt has {lost!r}, which would be dropped: use format: rows", row=name_of(row)
        )
    return turns


def _truth(row: Row) -> str:
    """Return what the verifier compares with: texts, decimals and dates as they are, other values as JSON."""
    truth: Any = row.get("answer")
    if truth is None:
        raise DataError(
            "it has no ground truth in the column 'answer': add it with compute, or filter the row",
            row=name_of(row),
        )
    if isinstance(truth, str):
        return truth
    if isinstance(truth, Decimal):
        return format(truth, "f")
    try:
        if hasattr(truth, "isoformat"):
            return str(plain(truth))
        return json.dumps(truth, ensure_ascii=False, allow_nan=False, default=plain)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"its ground truth in the column 'answer' is {truth!r:.40}, which has no JSON form ({error}): "
            "make it a text or a number with compute, or filter the row",
            row=name_of(row),
        ) from error


def _verifier(row: Row) -> str:
    verifier = row.get("verifier")
    if not isinstance(verifier, str) or not verifier:
        raise DataError(
            "it names no verifier in the column 'verifier': add it, as in compute: {verifier: \"'math'\"}",
            row=name_of(row),
        )
    return verifier
