"""The response of a row that a model rates, and the conversation that it answers."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.errors import DataError
from ...contracts.inference import Message
from ...contracts.operators import no_column
from ...contracts.rows import Row, messages_of, turns


def answered(row: Row, prompt: str | None, response: str | None, system: str | None) -> list[Message]:
    """Return the conversation that ends with the response, which is the assistant's.

    ``response``: the column of the response; None: the row's own conversation, as training reads it.
    ``prompt``: the column of the prompt; None: ``prompt`` or, if the row has none, ``messages`` without a
    last turn of the assistant's. ``system``: system prompt of a conversation that has none. Raises DataError
    if a part has no text.
    """
    try:
        found = messages_of(row) if response is None else _answer(row, prompt, response)
    except ValueError as error:
        raise DataError(str(error)) from None
    if not found or found[-1]["role"] != "assistant":
        raise DataError("no response: the last turn of the conversation is not the assistant's")
    for number, turn in enumerate(found, 1):
        if not isinstance(turn.get("content"), str):
            raise DataError(f"turn {number} ({turn['role']}) has no text")
    if not found[-1]["content"]:
        raise DataError(f"the response is empty: {response or 'the last turn'} has no text")
    if system and found[0]["role"] != "system":
        return [{"role": "system", "content": system}, *found]
    return found


def plain(row: Row, prompt: str | None, response: str | None) -> tuple[str, str]:
    """Return the texts of the prompt and the response. Raises DataError if one is missing."""
    before, text = row.get(prompt or "prompt"), row.get(response or "response")
    if not isinstance(before, str):
        raise DataError(f"no prompt: '{prompt or 'prompt'}' is not a text")
    if not isinstance(text, str) or not text:
        raise DataError(f"the response is empty: '{response or 'response'}' has no text")
    return before, text


def check_response_columns(columns: Sequence[str], prompt: str | None, response: str | None) -> None:
    """Raise DataError if a row with these columns cannot have a response to rate."""
    for name in (prompt, response):
        if name is not None and name not in columns:
            raise DataError(no_column(name, columns))
    if prompt is None and not {"prompt", "messages"} & set(columns) and response is not None:
        raise DataError(f"the prompt is read from 'prompt' or 'messages': {no_column('prompt', columns)}")


def _answer(row: Row, prompt: str | None, response: str) -> list[Message]:
    text = row.get(response)
    if not isinstance(text, str):
        raise DataError(f"no response: '{response}' is not a text")
    asked = row.get(prompt or "prompt")
    if isinstance(asked, str):
        return turns(asked, text, row.get("system"))
    if prompt is not None:
        raise DataError(f"no prompt: '{prompt}' is not a text")
    found = messages_of(row)
    before = found[:-1] if found and found[-1]["role"] == "assistant" else found
    return [*before, {"role": "assistant", "content": text}]
