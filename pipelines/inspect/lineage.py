"""The lineage of a row: its ancestors, its fate at each step, and its children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ...contracts.exchanges import MESSAGES, VIEWED, texts_of
from ..report.gather import RunData, Step, gather
from ..store.run_directory import RunDirectory

if TYPE_CHECKING:
    import pyarrow as pa

ENGINE_COLUMNS = ("_id", "_parents", "_fate", "_reason")


@dataclass(frozen=True, slots=True)
class Fate:
    """The effect of one step on a row.

    ``rounds``: those that share the step. ``reason``: rule, score, neighbor, error and retryable;
    None if kept. ``values``: the columns that the step added or filtered by. ``cuts``: column ->
    the thresholds of a keep. ``batches``: (optimizer step, the row's loss) if it was trained on.
    """

    step: str
    operator: str
    rounds: tuple[int, ...]
    fate: str
    reason: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    cuts: Mapping[str, float] = field(default_factory=dict)
    batches: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Relative:
    """An ancestor or a child. ``distance``: in generations. ``step``: the step that made it."""

    id: str
    distance: int
    step: str
    rounds: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """The lineage of one row. ``ancestors``: closest first, up to the seeds."""

    id: str
    texts: Mapping[str, str]
    fates: tuple[Fate, ...]
    ancestors: tuple[Relative, ...]
    children: tuple[Relative, ...]


def lineage(run: RunDirectory, row: str) -> Lineage:
    """Everything about the row whose ``_id`` is, or starts with, ``row``.

    Raises DataError if no row or several rows match, StoreError if the run cannot be read.
    """
    data = gather(run)
    stores = _stores(data)
    name = _resolve(stores, row)
    hits = [(step, rounds, found) for step, rounds in stores if (found := _row(step, name)) is not None]
    texts: dict[str, str] = {}
    for _, _, found in hits:
        texts |= {key: value for key, value in found.items() if isinstance(value, str) and key[0] != "_"}
    columns = {step.name: set(step.columns) for step, _ in stores}
    fates = [
        _fate(step, rounds, found, set().union(*(columns.get(each, set()) for each in step.inputs)))
        for step, rounds, found in hits
    ]
    parents: list[str] = next((found["_parents"] for _, _, found in hits if found.get("_parents")), [])
    return Lineage(name, texts, tuple(fates), _ancestors(stores, parents), _children(stores, name))


_Stores = list[tuple[Step, tuple[int, ...]]]


def _stores(data: RunData) -> _Stores:
    """Every step with rows, once, with the rounds that share it, in the order of the rounds."""
    rounds: dict[str, list[int]] = {}
    steps: dict[str, Step] = {}
    for each in data.rounds:
        for step in each.steps:
            steps.setdefault(step.store.path.name, step)
            rounds.setdefault(step.store.path.name, []).append(each.number)
    return [(step, tuple(rounds[name])) for name, step in steps.items() if step.store.parts()]


def scan(step: Step, columns: list[str], condition: Any = None) -> pa.Table:
    """The reserved columns of every row of a step, filtered while reading."""
    import pyarrow as pa

    wanted = pa.schema(
        [
            ("_id", pa.string()),
            ("_parents", pa.list_(pa.string())),
            ("prompt", pa.string()),
            ("response", pa.string()),
        ]
    )
    tables = [wanted.empty_table().select([name for name in columns if name in wanted.names])]
    for part in step.store.parts():
        table = part.read(list(dict.fromkeys(["_id", *columns])), None)
        table = table if condition is None else table.filter(condition)
        tables.append(table.select([name for name in columns if name in table.column_names]))
    return pa.concat_tables(tables, promote_options="permissive")


def _resolve(stores: _Stores, prefix: str) -> str:
    import pyarrow.compute as compute

    found: set[str] = set()
    for step, _ in stores:
        found |= set(
            scan(step, ["_id"], compute.starts_with(compute.field("_id"), prefix))["_id"].to_pylist()
        )
    if not prefix or not found:
        raise DataError(
            f"no row's _id starts with {prefix!r} in this run: ids are in the column _id of its rows"
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:4])
        raise DataError(
            f"{len(found):,} rows have an _id that starts with {prefix!r} ({some}, …): give a longer prefix"
        )
    return found.pop()


def _row(step: Step, name: str) -> dict[str, Any] | None:
    """The row after the step, without embeddings and other long lists; None if it is not there."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    for part in step.store.parts():
        if name not in part.read(["_id"], None)["_id"].to_pylist():
            continue
        wanted = [
            each.name for each in part.schema if each.name in ENGINE_COLUMNS or not types.is_nested(each.type)
        ]
        found = part.read(wanted, None).filter(compute.field("_id") == name)
        if found.num_rows:
            row: dict[str, Any] = found.to_pylist()[0]
            return row
    return None


def _fate(step: Step, rounds: tuple[int, ...], row: Mapping[str, Any], known: set[str]) -> Fate:
    cuts = step.summary.get("thresholds") or {}
    shown = {key: row[key] for key in row if (key not in known or key in cuts) and key not in ENGINE_COLUMNS}
    return Fate(
        step.name,
        step.label,
        rounds,
        row["_fate"],
        row.get("_reason") if row["_fate"] != "kept" else None,
        shown,
        cuts,
        _batches(step, row["_id"]),
    )


def _batches(step: Step, name: str) -> tuple[tuple[int, float | None], ...]:
    history = step.store.read_history(["step", "rows", "row_loss"])
    found: list[tuple[int, float | None]] = []
    for batch in history.to_pylist() if history is not None else ():
        losses = batch["row_loss"] or [None] * len(batch["rows"])
        found += [(batch["step"], loss) for row, loss in zip(batch["rows"], losses) if row == name]
    return tuple(found)


def _ancestors(stores: _Stores, parents: Iterable[str]) -> tuple[Relative, ...]:
    import pyarrow.compute as compute

    found: dict[str, Relative] = {}
    generation, distance = list(parents), 1
    while generation:
        above: list[str] = []
        for step, rounds in stores:
            wanted = ["_id", "_parents", *VIEWED, MESSAGES]
            rows = scan(step, wanted, compute.field("_id").isin(generation)).to_pylist()
            for row in rows:
                if row["_id"] not in found:
                    found[row["_id"]] = Relative(row["_id"], distance, step.name, rounds, _text(row))
                    above.extend(row["_parents"] or [])
        generation, distance = [name for name in above if name not in found], distance + 1
    return tuple(found.values())


def _children(stores: _Stores, name: str) -> tuple[Relative, ...]:
    import numpy as np
    import pyarrow.compute as compute

    found: dict[str, Relative] = {}
    for step, rounds in stores:
        links = scan(step, ["_id", "_parents"]).combine_chunks()
        parents = compute.list_flatten(links["_parents"])
        owners = compute.list_parent_indices(links["_parents"])
        positions = owners.filter(compute.equal(parents, name)).to_numpy()
        new = [each for each in links["_id"].take(np.unique(positions)).to_pylist() if each not in found]
        if new:
            wanted = ["_id", *VIEWED, MESSAGES]
            rows = scan(step, wanted, compute.field("_id").isin(new)).to_pylist()
            found |= {row["_id"]: Relative(row["_id"], 1, step.name, rounds, _text(row)) for row in rows}
    return tuple(found.values())


def _text(row: Mapping[str, Any]) -> str:
    prompt, response = texts_of(row)
    return str(response or prompt or "")
