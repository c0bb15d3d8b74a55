"""Sample rows: some that were kept, and for every rule some that it rejected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...contracts.turns import text_of, turns_from
from .gather import RoundData, Step

if TYPE_CHECKING:
    import pyarrow as pa

KEPT, PER_RULE, REJECTED, LONGEST = 6, 2, 14, 1500
#: The columns shown, in this order. ``reasoning`` is folded: it is long, and not the answer.
TEXTS = (
    "system",
    "messages",
    "prompt",
    "reasoning",
    "response",
    "chosen",
    "rejected",
    "question",
    "critique",
    "revision",
    "before",
    "after",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row as shown. ``texts``: (column, text). ``why``: the reason, empty if kept."""

    id: str
    step: str
    fate: str
    texts: list[tuple[str, str]]
    figures: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


def kept_samples(data: RoundData) -> list[Sample]:
    """A few rows of the final data set, spread evenly over it."""
    step = data.data
    if step is None or not step.ledger.kept:
        return []
    stride = max(1, step.ledger.kept // KEPT)
    wanted = list(range(0, step.ledger.kept, stride))[:KEPT]
    found: list[Sample] = []
    before = 0
    for part in step.store.parts():
        here = [number - before for number in wanted if 0 <= number - before < part.ledger.kept]
        if here:
            found += [_sample(row, step) for row in part.read(_columns(step)).take(here).to_pylist()]
        before += part.ledger.kept
    return found


def rejected_samples(data: RoundData) -> list[Sample]:
    """The first few rows of each rule and error of each step."""
    found: list[Sample] = []
    for step in data.steps:
        if step.ledger.filtered + step.ledger.failed and step.verb not in ("train", "export"):
            taken: dict[str, int] = {}
            for row in _others(step):
                reason = row["_reason"] or {}
                rule = reason.get("rule") or reason.get("error") or ""
                taken[rule] = taken.get(rule, 0) + 1
                if taken[rule] <= PER_RULE and len(found) < REJECTED:
                    found.append(_sample(row, step))
    return found


def because(reason: Mapping[str, Any] | None) -> str:
    """A reason in words: ``by semantic, score 0.95, like 1f2e…``; for a failure the error."""
    if not reason:
        return ""
    parts = [f"by {reason['rule']}" if reason.get("rule") else reason.get("error") or ""]
    if reason.get("score") is not None:
        parts.append(f"score {reason['score']:.4g}")
    if reason.get("duplicate_of"):
        parts.append(f"like {reason['duplicate_of']}")
    if reason.get("retryable"):
        parts.append("may be tried again")
    return ", ".join(part for part in parts if part)


def _others(step: Step) -> Iterator[dict[str, Any]]:
    """Of each part the first rows of each rule and error."""
    for part in step.store.parts():
        for fate in ("filtered", "failed"):
            if getattr(part.ledger, fate):
                table: pa.Table = part.read([*_columns(step), "_reason", "_fate"], fate)
                yield from table.take(_first_of_each(table["_reason"])).to_pylist()


def _first_of_each(reasons: pa.ChunkedArray) -> pa.Array:
    """The places of the first ``PER_RULE`` rows of each rule and error, ascending."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rules = [pc.fill_null(pc.struct_field(reasons, name), "") for name in ("rule", "error")]
    places = pa.array(range(len(reasons)), pa.int64())
    found = []
    for _ in range(PER_RULE):
        left = pa.table([*(rule.take(places) for rule in rules), places], names=["rule", "error", "place"])
        first = left.group_by(["rule", "error"]).aggregate([("place", "min")])["place_min"]
        found += first.to_pylist()
        places = places.filter(pc.invert(pc.is_in(places, first.combine_chunks())))
    return pa.array(sorted(found), pa.int64())


def _columns(step: Step) -> list[str]:
    import pyarrow.types as types

    figures = [
        name
        for name, kind in step.columns.items()
        if types.is_floating(kind) or types.is_boolean(kind) or types.is_integer(kind)
    ]
    return ["_id", *(name for name in TEXTS if name in step.columns), *figures]


def _sample(row: Mapping[str, Any], step: Step) -> Sample:
    texts = [(name, _short(told(row[name]))) for name in TEXTS if row.get(name) not in (None, "")]
    figures = {
        name: value
        for name, value in row.items()
        if isinstance(value, (bool, int, float)) and not name.startswith("_")
    }
    return Sample(
        row["_id"], step.name, row.get("_fate", "kept"), texts, figures, because(row.get("_reason"))
    )


def told(value: object) -> str:
    """A value as text; a conversation turn by turn, each after its role."""
    turns = turns_from(value)
    if turns is None:
        return str(value)
    return "\n\n".join(f"{turn['role']}: {text_of(turn)}" for turn in turns)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST:,} more characters)"
