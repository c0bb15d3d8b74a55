"""The rows in which two runs differ, to browse: those that only one of them kept, and other answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ....contracts.exchanges import ANSWERS, MESSAGES, VIEWED, view
from ....contracts.printable import shown
from ..gather import ASIDE, RoundData, Step
from ..samples import because
from .groups import ROWS, shares
from .reading import RowPlace, rank, rows_at
from .shape import RowShape
from .texts import TextPool

#: What became of a row, with the class that gives its color.
ONLY_HERE, ONLY_THERE, OTHERWISE = (
    ("only in this run", "first"),
    ("only in the other run", "second"),
    ("answered differently", "both"),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A kept row: where it is, and digests of its question and its answer, None if it has none."""

    place: RowPlace
    question: int | None
    answer: int | None


#: A row of this run, one of the other run, or both: those that are one beside the other.
_Pair: TypeAlias = tuple[RowPlace | None, RowPlace | None]


def compared_rows(one: RoundData, other: RoundData) -> dict[str, Any] | None:
    """Data for the row browser, as :func:`.data.browser_data`; None if the runs kept the same rows.

    A row that only one run kept stands beside one of the other run with the same question, if there is one.
    """
    steps: list[tuple[Step, Step, dict[tuple[str, str], list[_Pair]]]] = []
    for step in one.steps:
        twin = other.step(step.name)
        if twin is not None and _may_differ(step, twin) and (found := _differing(step, twin)):
            steps.append((step, twin, found))
    if not steps:
        return None
    taken = iter(shares([len(pairs) for _, _, found in steps for pairs in found.values()], ROWS // 2))
    texts = TextPool()
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for number, (step, twin, found) in enumerate(steps):
        wanted = {group: sorted(pairs, key=_rank)[: next(taken)] for group, pairs in found.items()}
        groups = [
            {"fate": fate, "kind": kind, "why": "", "rows": len(found[fate, kind]), "embedded": len(pairs)}
            for (fate, kind), pairs in wanted.items()
        ]
        told.append({"key": step.name, "name": step.name, "label": step.label, "round": 0, "groups": groups})
        pairs = [(pair, group) for group, chosen in enumerate(wanted.values()) for pair in chosen]
        for row in _rows(step, twin, pairs, texts):
            rows.append({**row, "step": number})
    last = one.data
    start = next((place for place, (step, _, _) in enumerate(steps) if last and step.name == last.name), 0)
    return {"steps": told, "rows": rows, "others": {}, "texts": texts.embedded(), "start": start}


def _may_differ(step: Step, twin: Step) -> bool:
    verb = step.verb in ASIDE and step.verb != "evaluate"
    return not verb and step.store.fingerprint != twin.store.fingerprint


def _differing(step: Step, twin: Step) -> dict[tuple[str, str], list[_Pair]]:
    """The rows of two versions of a step that differ, in pairs."""
    here, there = _kept(step), _kept(twin)
    otherwise: list[_Pair] = [
        (row.place, there[id].place)
        for id, row in here.items()
        if id in there and row.answer != there[id].answer
    ]
    lost = [row for id, row in here.items() if id not in there]
    gained = [row for id, row in there.items() if id not in here]
    asked: dict[int | None, list[_Kept]] = {}
    for row in gained:
        asked.setdefault(row.question, []).append(row)
    only_here: list[_Pair] = []
    paired: set[RowPlace] = set()
    for row in lost:
        twins = asked.get(row.question, []) if row.question is not None and row.answer is not None else []
        if not twins:
            only_here.append((row.place, None))
            continue
        mate = twins.pop(0)
        paired.add(mate.place)
        if mate.answer != row.answer:
            otherwise.append((row.place, mate.place))
    only_there: list[_Pair] = [(None, row.place) for row in gained if row.place not in paired]
    found = {ONLY_HERE: only_here, ONLY_THERE: only_there, OTHERWISE: otherwise}
    return {group: pairs for group, pairs in found.items() if pairs}


def _kept(step: Step) -> dict[str, _Kept]:
    """The kept rows of a step by their ids."""
    answered = next((name for name in ANSWERS if name in step.columns), None)
    read = ("prompt", MESSAGES) if answered is None else ("prompt", answered, MESSAGES)
    wanted = [name for name in read if name in step.columns]
    found: dict[str, _Kept] = {}
    for number, part in enumerate(step.store.parts()):
        table = part.read(["_id", "_fate", *wanted], None)
        viewed = view(table, VIEWED) if MESSAGES in wanted else table
        answers = answered if answered in viewed.column_names else "response"
        texts = [
            viewed[name].to_pylist() if name in viewed.column_names else [None] * table.num_rows
            for name in ("prompt", answers)
        ]
        fates = table["_fate"].to_pylist()
        for row, (id, fate, *said) in enumerate(zip(table["_id"].to_pylist(), fates, *texts, strict=True)):
            if fate == "kept":
                question, answer = (None if text is None else hash(str(text)) for text in said)
                found[id] = _Kept(RowPlace(rank(id), number, row), question, answer)
    return found


def _rank(pair: _Pair) -> RowPlace:
    place = pair[0] or pair[1]
    assert place is not None
    return place


def _rows(
    step: Step, twin: Step, pairs: list[tuple[_Pair, int]], texts: TextPool
) -> Iterator[dict[str, Any]]:
    """The rows of pairs as embedded: both sides, or one with what became of it in the other run."""
    shapes = (RowShape.of(step), RowShape.of(twin))
    places = [[place for pair, _ in pairs if (place := pair[side]) is not None] for side in (0, 1)]
    read = [
        dict(rows_at(each, there, shape.columns)) for each, there, shape in zip((step, twin), places, shapes)
    ]
    ends = (
        _ends(step, {read[1][there]["_id"] for (here, there), _ in pairs if here is None and there}),
        _ends(twin, {read[0][here]["_id"] for (here, there), _ in pairs if there is None and here}),
    )
    for (here, there), group in pairs:
        if here is not None and there is not None:
            sides = [
                {"name": name, "parts": shapes[side].parts(read[side][place], texts)}
                for side, (name, place) in enumerate((("this run", here), ("the other run", there)))
            ]
            yield {"id": read[0][here]["_id"], "group": group, "parts": [{"kind": "sides", "sides": sides}]}
            continue
        side, place = (0, here) if here is not None else (1, there)
        assert place is not None
        row = read[side][place]
        end = ends[1 - side].get(row["_id"])
        made: dict[str, Any] = {"id": row["_id"], "group": group, "parts": shapes[side].parts(row, texts)}
        if end:
            made["why"] = texts.add(f"{('the other run', 'this run')[side]}: {end}")
        yield made


def _ends(step: Step, ids: set[str]) -> Mapping[str, str]:
    """What the step did with those of the ids that it did not keep."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[str, str] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for part in step.store.parts() if ids else ():
        table = part.read(["_id", "_fate", "_reason"], None)
        for row in table.filter(pc.is_in(table["_id"], wanted)).to_pylist():
            if row["_fate"] != "kept":
                found[row["_id"]] = shown(f"{row['_fate']} {because(row['_reason'])}")
    return found
