"""The layouts in which data sets hold conversations, and the columns that rows of each become.

Sources read them (``format:``), and ``unify`` finds questions and answers in them. A reader takes the columns
of its layout out of a row and puts columns of Gristmill's own in their place: ``messages``; ``prompt`` and
``response``; or ``prompt``, ``chosen`` and ``rejected``; with ``tools`` as JSON text. All other columns stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from .chat_rows import (
    CONVERSATIONS,
    alpaca,
    conversations_completed,
    messages,
    prompt_completion,
    sharegpt,
)
from .openai_rows import openai_batch, openai_log, openai_preferences
from .preference_rows import preferences
from .turns import unreadable

Format: TypeAlias = Literal[
    "auto",
    "as_is",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "preferences",
    "openai_batch",
    "openai_preferences",
    "openai_log",
]
#: Columns of a row -> the columns that take their place; None if they are not of the layout.
Read: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """``needs``: columns of which rows have one of each group. ``takes``: columns that are read.

    ``without``: columns that rows of the layout do not have. ``auto``: whether rows are recognized by their
    columns alone.
    """

    read: Read
    needs: tuple[tuple[str, ...], ...]
    takes: tuple[str, ...]
    without: tuple[str, ...] = ()
    auto: bool = True

    def fits(self, names: Collection[str]) -> bool:
        """Whether a row with these columns may be of the layout."""
        return all(any(name in names for name in group) for group in self.needs) and not any(
            name in names for name in self.without
        )


#: The columns in which layouts put conversations.
CONVERSATION_COLUMNS = ("messages", "prompt", "chosen", "rejected")


def unreadable_column(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """(column, what is wrong with it) of the first conversation that cannot be read; None if all can."""
    for name in CONVERSATION_COLUMNS:
        if (reason := unreadable(row.get(name))) is not None:
            return name, f"{name}: {reason}"
    return None


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of a layout (``auto``: of the one that each row's columns show; ``as_is``: of none).

    ``untouched``: columns that the user names. A layout that would take one of them away is not read.
    """

    form: Format = "auto"
    untouched: frozenset[str] = frozenset()

    def read(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the columns of its layout replaced.

        Raises ValueError if it is not of the layout that was asked for.
        """
        for name in self.layouts(row):
            made = LAYOUTS[name].read(row)
            if made is not None and not self.loses(row, made):
                return made
        if self.form not in ("auto", "as_is"):
            layout = LAYOUTS[self.form]
            columns = " and ".join("/".join(group) for group in layout.needs)
            raise ValueError(
                f"the row is not of the format {self.form} ({columns}); its columns are "
                f"{', '.join(sorted(row)) or 'none'}: correct it, or read it with `format: as_is`"
            )
        return row

    def layouts(self, names: Iterable[str]) -> Sequence[str]:
        """The layouts that rows with these columns may have, the likeliest first."""
        return _layouts(self.form, tuple(names))

    def loses(self, row: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
        """Whether a column that the user names would be gone."""
        return any(name in self.untouched and name not in made for name in row)


@lru_cache(maxsize=1024)
def _layouts(form: str, names: tuple[str, ...]) -> Sequence[str]:
    if form == "as_is":
        return ()
    if form != "auto":
        return (form,) if LAYOUTS[form].fits(names) else ()
    return tuple(name for name, layout in LAYOUTS.items() if layout.auto and layout.fits(names))


def exchange_columns(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The layout of a row and the row as its reader makes it; None if no layout is found."""
    known = {name: value for name, value in row.items() if value is not None}
    for name in RowReader().layouts(known):
        made = LAYOUTS[name].read(known)
        if made is not None:
            return name, made
    return None


#: In the order in which they are looked for.
LAYOUTS: Mapping[str, RowLayout] = {
    "openai_batch": RowLayout(
        openai_batch, (("custom_id",), ("body", "response")), ("body", "response"), ("messages",)
    ),
    "openai_log": RowLayout(
        openai_log, (("request",), ("response",)), ("request", "response"), ("messages",)
    ),
    "openai_preferences": RowLayout(
        openai_preferences,
        (("input",), ("preferred_output",), ("non_preferred_output",)),
        ("input", "preferred_output", "non_preferred_output"),
    ),
    "preferences": RowLayout(
        preferences,
        (("chosen",), ("rejected",)),
        (
            *("prompt", "question", "instruction", "input", "system"),
            *(*CONVERSATIONS, "messages", "chosen", "rejected"),
        ),
    ),
    "messages": RowLayout(messages, (("messages",),), ("messages",)),
    "sharegpt": RowLayout(sharegpt, (CONVERSATIONS,), (*CONVERSATIONS, "system", "messages")),
    "alpaca": RowLayout(
        alpaca,
        (("instruction",), ("output",)),
        ("instruction", "input", "output", "history", "system", "response"),
        ("prompt", "messages"),
    ),
    "prompt_completion": RowLayout(
        prompt_completion, (("prompt",), ("completion",)), ("prompt", "completion", "system"), auto=False
    ),
    "conversational_completion": RowLayout(
        conversations_completed,
        (("prompt",), ("completion",)),
        ("prompt", "completion", "system"),
        ("response", "messages"),
    ),
}
