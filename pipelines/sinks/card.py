"""The data card: a README.md that describes a data set and how it was made, as far as is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...contracts.counting import counted
from ...contracts.printable import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context

#: Columns with the origin of rows, if the steps wrote them.
_ORIGINS = ("model", "template", "kind", "style", "finish", "language", "source_package")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 400
_DISTINCT = 12


def data_card(table: pa.Table, context: Context, *, title: str, form: str, licence: str | None) -> str:
    """The card of the table as written (after formatting), from the table and the context alone."""
    from ... import __version__

    parts = [
        _front_matter(table, title, licence),
        f"# {title}\n",
        f"{counted(table.num_rows, 'row')}, {counted(table.nbytes, 'byte')} in memory, format `{form}`.\n",
        "## How it was made\n",
        f"Written by Gristmill {__version__} in the step `{context.step}` (seed {context.seed}). "
        "`id` names each row in the run that made it, where `gristmill why RUN ID` tells its history.\n",
        *_origins(table),
        "## Columns\n",
        "| column | type | nulls | characters (median, longest) |\n|---|---|---|---|",
        *[_column(table, name) for name in table.column_names],
        "\n## Example\n",
        *_example(table),
        "\n## Licence\n",
        _licence(licence),
    ]
    return shown("\n".join(parts) + "\n")


def _front_matter(table: pa.Table, title: str, licence: str | None) -> str:
    size = next((name for limit, name in _SIZES if table.num_rows < limit), "1M<n<10M")
    lines = [
        "---",
        f"pretty_name: {json.dumps(title)}",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "tags:\n- synthetic\n- gristmill",
        f"size_categories:\n- {size}",
        "---\n",
    ]
    return "\n".join(lines)


def _origins(table: pa.Table) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for name in _ORIGINS:
        if name in table.column_names and pa.types.is_string(table.schema.field(name).type):
            counts = pc.value_counts(table[name]).to_pylist()
            counts.sort(key=lambda entry: (-entry["counts"], str(entry["values"])))
            shown = ", ".join(f"`{each['values']}` ({each['counts']:,})" for each in counts[:_DISTINCT])
            more = f" and {len(counts) - _DISTINCT} more" if len(counts) > _DISTINCT else ""
            found.append(f"- `{name}`: {shown}{more}")
    return [*found, ""] if found else []


def _column(table: pa.Table, name: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name]
    lengths = ""
    if pa.types.is_string(column.type) and column.null_count < len(column):
        characters = pc.utf8_length(column)
        median = pc.quantile(characters, 0.5, interpolation="nearest")[0].as_py()
        lengths = f"{median:,}, {pc.max(characters).as_py():,}"
    return f"| `{name}` | `{column.type}` | {column.null_count:,} | {lengths} |"


def _example(table: pa.Table) -> list[str]:
    if not table.num_rows:
        return ["There are no rows."]
    row = {name: _short(value) for name, value in table.slice(0, 1).to_pylist()[0].items()}
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
