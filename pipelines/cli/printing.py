"""Output of the commands that inspect a run: tables in a terminal, plain text in a pipe, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.printable import printable, shown
from ...contracts.secrets import scrubbed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def console() -> Console:
    """Standard output; in a pipe it is wide enough that no id is cut."""
    import sys

    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=160, color_system=None, force_terminal=False, highlight=False)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A plain table; the columns in ``numbers`` are right-aligned."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, pad_edge=False)
    for name in columns:
        made.add_column(words(name), justify="right" if name in numbers else "left", overflow="fold")
    return made


def words(text: object, style: str = "") -> Text:
    """Text without secrets and control sequences; markup in it (``[red]``,
    ``:smile:``) is not interpreted.
    """
    from rich.text import Text

    return Text(shown(str(text)), style=style)


def say(text: object) -> None:
    """Print text that may quote a file, a folder or a model."""
    print(shown(str(text)))


def print_json(answer: Any) -> None:
    """A dataclass as JSON, without secrets; control characters are escaped."""
    value = asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer
    print(printable(json.dumps(scrubbed(value), indent=1, ensure_ascii=False, default=_plain)))


def short(text: object, most: int = 100) -> str:
    """One line of at most ``most`` characters, without secrets and control sequences."""
    line = " ".join(shown(str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else repr(value)
