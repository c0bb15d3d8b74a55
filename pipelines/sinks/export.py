"""The common part of all sinks: choosing columns, and dividing rows into files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ...contracts.errors import DataError
from ...contracts.mistakes import at
from ...contracts.notices import tell
from ...contracts.operators import Sink
from ...contracts.rows import check_chat_form
from ...contracts.stored_rows import StoredRows
from .formats import PREFERENCE_FORMATS, Format
from .layout import Layout
from .left_out import left_out
from .placing import file_at, refuse_directory, refuse_file
from .reward_formats import NEEDED, TASKS

#: Internal columns that are larger than the rows themselves.
HEAVY = frozenset({"logprobs", "top_logprobs", "embedding"})
#: The formats of texts that have a form of turns, which TRL puts through the model's chat template.
_TURNS: Mapping[str, str] = {
    "prompt_completion": "prompt_completion_turns",
    "prompt_chosen_rejected": "prompt_chosen_rejected_turns",
}
#: Rows of each file of an export that consists of several.
FILE_ROWS = 524_288
#: Endings by which people name files of rows.
_FILES = (
    ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".gz", ".zst", ".zip",
)  # fmt: skip


def file_names(rows: int, form: str) -> list[str]:
    """The names of the files for so many rows. ``form``: with ``{number}`` and ``{count}``."""
    count = max(1, -(-rows // FILE_ROWS))
    return [form.format(number=number, count=count) for number in range(count)]


class Export(Sink):
    """The rows of a step, for other programs.

    The row's ``_id`` is written as ``id`` (``row_id`` if the rows have an ``id``, or ``row_id_2`` if they
    have both). Equal rows give equal bytes.
    """

    endings: ClassVar[tuple[str, ...]] = ()
    """Endings of the file that it writes, the usual one first; none if it writes a folder."""

    path: str | None = None
    """Where to write; a relative path starts at the current directory. By default into the run's own
    directory."""
    format: Format = "rows"
    """Layout of the rows: `rows` writes the columns as they are; the others are layouts that trainers read.
    `messages` has calls of tools in OpenAI's form, `sharegpt` in its function form. `grpo`, `verifiers` and
    `rlvr` are tasks for reinforcement learning: the prompt, the ground truth in `answer` and the verifier's
    name in `verifier`. `prompt_completion_turns` and `prompt_chosen_rejected_turns` are TRL's conversational
    forms, which it puts through the model's chat template; the texts of the forms without `_turns` it trains
    as they are. A row that does not fit the layout stops the export: nothing of a conversation that
    has a value is dropped. Other columns that have values and are left out are told."""
    columns: tuple[str, ...] | None = None
    """With `format: rows` the columns to write, by default all; with another layout the additional columns to
    write, by default none."""
    drop: tuple[str, ...] | None = None
    """Columns to leave out. By default log-probabilities and embeddings, unless `columns` names them."""

    def ending(self) -> str | None:
        """The ending of the file that it writes; None if it writes a folder."""
        longest_first = sorted(self.endings, key=len, reverse=True)
        named = (each for each in longest_first if (self.path or "").endswith(each))
        return next(named, self.endings[0] if self.endings else None)

    def place(self) -> str | None:
        """``path``, with the home directory in place of ``~``."""
        return self.path if self.path is None or "://" in self.path else os.path.expanduser(self.path)

    def markers(self) -> Sequence[str]:
        """Files by which an earlier export to a folder is known."""
        return ()

    def target(self) -> Path | None:
        place, ending = self.place(), self.ending()
        if place is None or "://" in place:
            return None
        return Path(place) if ending is None else file_at(place, ending)

    def inspect(self) -> None:
        with at("path"):
            self._check_name()
        place = self.target()
        if place is None:
            return
        with at("path"):
            if self.ending() is None:
                refuse_directory(place, self.markers())
            else:
                refuse_file(place)

    def _check_name(self) -> None:
        """Raise DataError for a path that names a file of another kind, in whose place would be a folder."""
        if self.path is None:
            return
        if not self.path.strip():
            raise DataError("found an empty path: name a file or a folder, or leave `path` out")
        other = self.path.endswith(_FILES) and not self.path.endswith(self.endings or ("/",))
        if other and not Path(self.path).is_dir():
            what = f"a file that ends with {' or '.join(self.endings)}" if self.endings else "a folder"
            raise DataError(
                f"{self.path}: this export writes {what}, and would make a folder of this name: "
                + ("change its ending, or name a folder" if self.endings else "leave out its ending")
            )

    def uses_columns(self) -> Iterable[str]:
        own: tuple[str, ...] = NEEDED if self.format in TASKS else ()
        if self.format in PREFERENCE_FORMATS:
            own = ("prompt", "chosen", "rejected")
        return (*own, *(self.columns or ()), *(self.drop or ()))

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        if self.format in TASKS and not {"prompt", "messages"} & set(columns):
            raise DataError(f"export: format {self.format} needs a column 'prompt' or 'messages'")
        if self.format not in ("rows", *PREFERENCE_FORMATS, *TASKS):
            check_chat_form(columns)

    def _tell_left_out(self, rows: StoredRows, names: Sequence[str]) -> None:
        """Say which of the columns, filled in some row, the format has no place for."""
        if lost := left_out(rows, self.format, names):
            tell(
                f"export: format {self.format} leaves out {', '.join(lost)}: name those to write in "
                "`columns`, the others in `drop`"
            )

    def layout(self, rows: StoredRows) -> Layout:
        """How to write these rows.

        Raises DataError for a missing column. Without rows, the requested columns are empty.
        """
        known = list(rows.column_names)
        if not rows.num_rows:
            known += [name for name in (*(self.columns or ()), *(self.drop or ())) if name not in known]
        for name in (*(self.columns or ()), *(self.drop or ())):
            if name not in known:
                shown = ", ".join(each for each in known if not each.startswith("_"))
                raise DataError(f"export: no column {name!r}; there are {shown}")
        own = [name for name in known if not name.startswith("_")]
        dropped = set(self.drop) if self.drop is not None else HEAVY - set(self.columns or ())
        chosen = own if self.columns is None and self.format == "rows" else list(self.columns or ())
        if self.format != "rows":
            self._tell_left_out(rows, [name for name in own if name not in (*chosen, *dropped)])
        layout = Layout.of(rows, self.format, [name for name in chosen if name not in dropped])
        beside = sorted({"system", "reasoning"} & set(layout.own.names))
        if self.format in _TURNS and beside:
            tell(
                f"export: TRL reads texts in format {self.format} without {' and '.join(beside)}, which "
                f"others read: for TRL, use `format: {_TURNS[self.format]}`"
            )
        return layout
