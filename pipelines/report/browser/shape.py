"""What is shown of a row: its texts, its conversations turn by turn, and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....contracts.printable import printable
from ....contracts.rows import THOUGHT
from ....contracts.turns import TOOLS, Turn, from_json, text_of, turns_from
from ..gather import Step
from ..samples import TEXTS
from .texts import TextPool

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum number of turns of a conversation, and of figures of a row.
TURNS, FIGURES = 40, 40
#: A text that is not longer, and that is in no column of ``TEXTS``, is shown with the figures.
SHORT = 40
#: Columns that are folded: long, and not what a row is about.
FOLDED = ("reasoning", "thinking", *TOOLS)
#: The prefix of the columns of the model that an evaluation compares with.
AGAINST = "against_"

#: A part of a row as it is embedded: ``kind``, ``name`` and what the kind has (see ``rows.js``).
Part = dict[str, Any]


@dataclass(frozen=True)
class RowShape:
    """Which columns of a step are shown, and which stand side by side.

    ``sides``: the name of each side, with its columns by the name under which it shows them.
    """

    columns: Sequence[str]
    sides: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, step: Step) -> RowShape:
        columns = _ordered([name for name, kind in step.columns.items() if _is_shown(name, kind)])
        return cls(columns, _sides(step, columns))

    def parts(self, row: Mapping[str, Any], texts: TextPool) -> list[Part]:
        """The parts of a row. ``row``: values by column, without those that it does not have."""
        aside = {column for columns in self.sides.values() for column in columns.values()}
        own = _parts({name: name for name in self.columns if name not in aside}, row, texts)
        if not self.sides:
            return own
        figures = [part for part in own if part["kind"] == "figures"]
        sides = [{"name": name, "parts": _parts(columns, row, texts)} for name, columns in self.sides.items()]
        return [
            *(part for part in own if part["kind"] != "figures"),
            {"kind": "sides", "sides": sides},
            *figures,
        ]


def _is_shown(name: str, kind: pa.DataType) -> bool:
    """Is the column one to read? Vectors, bytes and the columns of the runner are not."""
    import pyarrow.types as types

    if name.startswith("_") or types.is_null(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return False
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return not (is_list and types.is_floating(kind.value_type))


def _ordered(names: Sequence[str]) -> list[str]:
    """The columns of ``TEXTS`` first, in their order, then the others in their own."""
    return [*(name for name in TEXTS if name in names), *(name for name in names if name not in TEXTS)]


def _sides(step: Step, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The two models of an evaluation, or the chosen and the rejected answer of a preference."""
    both = [name for name in columns if f"{AGAINST}{name}" in columns]
    if step.verb == "evaluate" and both:
        models = step.plan["models"]
        model, against = (next(iter(models.get(key) or ()), key) for key in ("model", "against"))
        return {
            f"{against} (compared with)": {name: f"{AGAINST}{name}" for name in both},
            f"{model} (evaluated)": {name: name for name in both},
        }
    if {"chosen", "rejected"} <= set(columns):
        return {name: {name: name} for name in ("chosen", "rejected")}
    return {}


def _parts(columns: Mapping[str, str], row: Mapping[str, Any], texts: TextPool) -> list[Part]:
    """The parts of the columns that the row has, by the name to show. Figures come last."""
    parts: list[Part] = []
    folded: list[Part] = []
    figures: list[list[str]] = []
    for name, column in columns.items():
        value = row.get(column)
        if value is None or value == "":
            continue
        turns = turns_from(value) if not isinstance(value, str) or value.lstrip()[:1] == "[" else None
        if turns is not None:
            parts.append({"kind": "chat", "name": name, **_chat(turns, texts)})
        elif isinstance(value, (bool, int, float)):
            figures.append([name, figure(value)])
        elif isinstance(value, str) and name not in FOLDED and isinstance(from_json(value), str):
            if len(value) <= SHORT and "\n" not in value and name not in TEXTS:
                figures.append([name, value])
            else:
                parts.append({"kind": "text", "name": name, "text": texts.add(value)})
        else:
            folded.append({"kind": "folded", "name": name, "text": texts.add(plain(value))})
    # What was thought comes before the answer, as it did.
    thought = [part for part in folded if part["name"] not in TOOLS and part["name"] in FOLDED]
    answers = [place for place, part in enumerate(parts) if part["name"] in ("response", "answer")]
    at = answers[0] if answers else len(parts)
    rest = [part for part in folded if part not in thought]
    told = [{"kind": "figures", "name": "", "figures": _cleaned(figures)}] if figures else []
    return [*parts[:at], *thought, *parts[at:], *rest, *told]


def _cleaned(figures: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[printable(name), printable(value)] for name, value in figures[:FIGURES]]


def figure(value: bool | int | float) -> str:
    """``yes``, ``1,234`` or ``0.1235``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def plain(value: Any) -> str:
    """A value as text: JSON is indented."""
    value = from_json(value)
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _chat(turns: Sequence[Turn], texts: TextPool) -> dict[str, Any]:
    """The first turns of a conversation, and how many more it has."""
    return {"turns": [_turn(turn, texts) for turn in turns[:TURNS]], "more": max(0, len(turns) - TURNS)}


def _turn(turn: Turn, texts: TextPool) -> dict[str, Any]:
    """``role``, and what the turn has of ``text``, ``thought``, ``calls`` and ``of`` (the tool's name)."""
    said = text_of({**turn, "tool_calls": None})
    thought = turn.get(THOUGHT) or turn.get("reasoning")
    calls = [_call(call, texts) for call in turn.get("tool_calls") or () if isinstance(call, Mapping)]
    made: dict[str, Any] = {"role": str(turn["role"])[:40]}
    if said or not calls:
        made["text"] = texts.add(said)
    if isinstance(thought, str) and thought:
        made["thought"] = texts.add(thought)
    if calls:
        made["calls"] = calls
    if isinstance(turn.get("name"), str):
        made["of"] = turn["name"][:100]
    return made


def _call(call: Mapping[str, Any], texts: TextPool) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    return {
        "name": str(function.get("name") or "?")[:100],
        "text": texts.add(plain(function.get("arguments") or "")),
    }
