"""The data card: a README.md that describes a data set and how it was made, as far as is known."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ...contracts.counting import counted
from ...contracts.printable import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Columns with the origin of rows, if the steps wrote them.
_ORIGINS = ("model", "template", "kind", "style", "finish", "language", "source_package")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 400
_DISTINCT = 12


def data_card(
    tables: Iterable[pa.Table], context: Context, *, title: str, form: str, licence: str | None
) -> str:
    """The card of the rows as written (after formatting), from them and the context alone.

    ``tables``: the rows in pieces, at least one.
    """
    from ... import __version__

    rows = RowFacts.of(tables)
    parts = [
        _front_matter(rows.count, title, licence),
        f"# {title}\n",
        f"{counted(rows.count, 'row')}, {counted(rows.bytes, 'byte')} in memory, format `{form}`.\n",
        "## How it was made\n",
        f"Written by Gristmill {__version__} in the step `{context.step}` (seed {context.seed}). "
        "`id` names each row in the run that made it, where `gristmill why RUN ID` tells its history.\n",
        *_origins(rows),
        "## Columns\n",
        "| column | type | nulls | characters (median, longest) |\n|---|---|---|---|",
        *[_column(name, rows.columns[name]) for name in rows.columns],
        "\n## Example\n",
        *_example(rows.first),
        "\n## Licence\n",
        _licence(licence),
    ]
    return shown("\n".join(parts) + "\n")


@dataclass
class ColumnFacts:
    """What the card says of a column. ``characters``: texts by their length; ``values``: rows by value."""

    kind: str
    nulls: int = 0
    characters: Counter[int] = field(default_factory=Counter)
    values: Counter[str | None] = field(default_factory=Counter)

    def add(self, column: pa.ChunkedArray, *, origin: bool) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.nulls += column.null_count
        if pa.types.is_string(column.type):
            self.characters.update(_counts(pc.utf8_length(column.drop_null())))
            if origin:
                self.values.update(_counts(column))


@dataclass
class RowFacts:
    """What the card says of the rows. ``bytes``: in memory. ``first``: the first row, if there is one."""

    count: int = 0
    bytes: int = 0
    first: dict[str, Any] | None = None
    columns: dict[str, ColumnFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> RowFacts:
        facts = cls()
        for table in tables:
            if table.num_rows and facts.first is None:
                facts.first = table.slice(0, 1).to_pylist()[0]
            facts.count += table.num_rows
            facts.bytes += table.nbytes
            for name in table.column_names:
                column = facts.columns.setdefault(name, ColumnFacts(str(table.schema.field(name).type)))
                column.add(table[name], origin=name in _ORIGINS)
        return facts


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    import pyarrow.compute as pc

    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}


def _front_matter(rows: int, title: str, licence: str | None) -> str:
    size = next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
    lines = [
        "---",
        f"pretty_name: {json.dumps(title)}",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "tags:\n- synthetic\n- gristmill",
        f"size_categories:\n- {size}",
        "---\n",
    ]
    return "\n".join(lines)


def _origins(rows: RowFacts) -> list[str]:
    found = []
    for name in _ORIGINS:
        if name in rows.columns and rows.columns[name].kind == "string":
            counts = sorted(rows.columns[name].values.items(), key=lambda each: (-each[1], str(each[0])))
            told = ", ".join(f"`{value}` ({count:,})" for value, count in counts[:_DISTINCT])
            more = f" and {len(counts) - _DISTINCT} more" if len(counts) > _DISTINCT else ""
            found.append(f"- `{name}`: {told}{more}")
    return [*found, ""] if found else []


def _column(name: str, column: ColumnFacts) -> str:
    lengths = ""
    if column.characters:
        lengths = f"{_median(column.characters):,}, {max(column.characters):,}"
    return f"| `{name}` | `{column.kind}` | {column.nulls:,} | {lengths} |"


def _median(counts: Counter[int]) -> int:
    """The value in the middle; of two, the one with the even place."""
    middle = round((counts.total() - 1) / 2)
    values = sorted(counts)
    ends = list(accumulate(counts[value] for value in values))
    return values[bisect_right(ends, middle)]


def _example(first: dict[str, Any] | None) -> list[str]:
    if first is None:
        return ["There are no rows."]
    row = {name: _short(value) for name, value in first.items()}
    return ["````json", json.dumps(row, ensure_ascii=False, indent=2, default=str), "````"]


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if isinstance(value, list):
        return [_short(item) for item in value[:_DISTINCT]]
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return value


def _licence(licence: str | None) -> str:
    if licence:
        return f"`{licence}`"
    return (
        "Not stated. What was generated may be bound by the licenses of the models and of the source data: "
        "look before sharing it."
    )
