"""Conversations that a table holds as JSON text, as tables of a database and of other tools often do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from ...contracts.chat_rows import CONVERSATIONS
from ...contracts.column_types import holds_text
from ...contracts.turns import from_json, is_turns, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

#: The values of a column, by its name.
Values: TypeAlias = Callable[[str], Iterator[Any]]
#: The columns of layouts that may hold conversations.
_CONVERSED = ("messages", *CONVERSATIONS, "prompt", "completion", "chosen", "rejected")
#: How many texts are read to find one that is a conversation.
LOOKED_AT = 1000


def no_values(name: str) -> Iterator[Any]:
    return iter(())


def columns_of_turns(
    schema: pa.Schema, names: Sequence[str], values: Values, *, some: bool
) -> Mapping[str, Callable[[], Iterator[str]]]:
    """Those text columns among ``names`` whose values are JSON text of turns -> their texts.

    A column counts if all of its values are, nulls aside; with ``some``, if one of the first ``LOOKED_AT``
    is.
    """
    found: dict[str, Callable[[], Iterator[str]]] = {}
    for name in names:
        if name in _CONVERSED and holds_text(schema.field(name).type):
            known = (value for value in values(name) if value is not None)
            first = next(known, None)
            judged = map(_turns, chain([first] if first is not None else [], known))
            if first is not None and (any(islice(judged, LOOKED_AT)) if some else all(judged)):
                found[name] = lambda name=name: filter(_turns, values(name))  # type: ignore[misc]
    return found


def _turns(value: Any) -> bool:
    """Whether a value is JSON text of turns that can be read."""
    turns = from_json(value) if isinstance(value, str) else None
    return is_turns(turns) and unreadable(turns) is None


def examples_of_turns(
    example: Mapping[str, Any], spoken: Mapping[str, Callable[[], Iterator[str]]]
) -> Iterator[dict[str, Any]]:
    """The example row with every text of the columns of turns in its place."""
    first = {name: next(texts()) for name, texts in spoken.items()}
    for name, texts in spoken.items():
        for text in texts():
            yield {**example, **first, name: text}
