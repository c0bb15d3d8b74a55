"""How the answering commands print: tables in a terminal, the same as plain text in a pipe, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console() -> Console:
    """Standard output, wide enough in a pipe that no id is cut."""
    import sys

    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160, no_color=True)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A plain table; the columns in ``numbers`` are set to the right."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return made


def print_json(answer: Any) -> None:
    """A dataclass as JSON."""
    value = asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer
    print(json.dumps(value, indent=1, ensure_ascii=False, default=_plain))


def short(text: object, most: int = 100) -> str:
    """One line of at most ``most`` characters, without control codes."""
    line = "".join(each if each.isprintable() else " " for each in " ".join(str(text).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else repr(value)
