"""Do the rows that a student was trained on contain the items that decide its promotion?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...contracts.column_types import holds_text, holds_turns, reads_as_text
from ...contracts.exchanges import ANSWERS, MESSAGES, view
from ...contracts.turns import text_of, turns_from
from ..columns import text_column
from .decontaminate import Decontaminate

if TYPE_CHECKING:
    import pyarrow as pa

#: Share of an item's n-grams in one row from which the item counts as trained on. Prompts that are composed
#: from the same templates share less.
SHARE = 0.5
#: The columns that are compared without being named.
KNOWN: tuple[str, ...] = Decontaminate.model_fields["columns"].default
_PROMPT = "prompt"
#: Columns whose texts may be questions by themselves, beside those that `decontaminate` knows as such.
_ASKING = ("instruction", "input")


def contaminated_items(
    trained: pa.Table, items: pa.Table, read: Iterable[str] = (), asked: Iterable[str] = ()
) -> int | None:
    """Return how many items are equal to a text of a training row, or share half of their 13-grams with one.

    Half of those of all texts of the item, or of what it asks. A turn of a conversation that is not the
    assistant's counts as a text. ``read``: the columns that the training names. ``asked``: those that the
    evaluation asks about. They are compared beside those that ``decontaminate`` knows; of ``asked`` those
    that tell the items apart, since many rows may share the text of an instruction, or the passage that
    several questions are about. 13-grams of more than half of the items (and of more than two) are a
    template's, and do not count.

    Programs count that differ only in names and layout. An item of which another one shares more with every
    such row is not counted. None if the texts that the items ask about, or those of the rows, cannot be
    compared, and nothing else tells.
    """
    if not trained.num_rows or not items.num_rows:
        return 0
    asked = sorted(asked)
    items = _with_questions(items, {_PROMPT, "question", *asked} - {*ANSWERS, MESSAGES})
    mine = _texts(trained, (*KNOWN, *read))
    own = [name for name in _texts(items, asked) if _is_own(items, name)]
    theirs = list(dict.fromkeys((*_texts(items, KNOWN), *own)))
    if not mine or not theirs:
        return None
    step = _Deciding(
        against=("items",),
        threshold=SHARE,
        columns=tuple(dict.fromkeys((*KNOWN, *mine, *theirs))),
        asking=tuple({*mine, *theirs} - {*KNOWN} | {*own} - {*ANSWERS}),
        max_document_frequency=max(2, items.num_rows // 2),
    )
    hit: set[int] = set()
    for rows in (trained.select(mine), _alone(trained, mine)):
        matched, bad = step.match(rows, items.select(theirs))
        hit.update(matched.item[bad].tolist())
    checked = not asked or {*asked, MESSAGES} & {*theirs}
    return len(hit) if hit or checked else None


class _Deciding(Decontaminate):
    """``asking``: further columns that may match as a whole, however short."""

    asking: tuple[str, ...] = ()

    def _whole(self, name: str) -> bool:
        return name in self.asking or super()._whole(name)


def _with_questions(items: pa.Table, asking: Iterable[str]) -> pa.Table:
    """The items, with what each conversation asks: in its place in a column that asks, else as the prompt."""
    import pyarrow as pa

    for place, field in enumerate(items.schema):
        if field.name in asking and holds_turns(field.type):
            asked = view(pa.table({MESSAGES: items.column(place)}), [_PROMPT])[_PROMPT]
            items = items.set_column(place, field.name, asked)
    if _PROMPT in items.column_names and not holds_text(items.schema.field(_PROMPT).type):
        return items
    return view(items, [_PROMPT])


def _alone(trained: pa.Table, names: Iterable[str]) -> pa.Table:
    """The questions that stand among other texts of a row, each as a prompt: the turns of its conversations
    but for the assistant's, and the texts of ``_ASKING``.
    """
    import pyarrow as pa

    texts: list[str] = []
    for name in names:
        for value in trained.column(name).to_pylist():
            turns = turns_from(value)
            texts += [text_of(turn) for turn in turns or () if turn["role"] != "assistant"]
            if turns is None and name in _ASKING and isinstance(value, str):
                texts.append(value)
    return pa.table({_PROMPT: pa.array(texts, pa.large_string())})


def _texts(table: pa.Table, names: Iterable[str]) -> list[str]:
    """Those of the columns that hold texts."""
    return [
        name
        for name in dict.fromkeys(names)
        if name in table.column_names
        and reads_as_text(table.column(name).type)
        and table.column(name).null_count < table.num_rows
    ]


def _is_own(items: pa.Table, name: str) -> bool:
    """Whether most items have a text of their own in a column."""
    import pyarrow.compute as pc

    return bool(2 * pc.count_distinct(text_column(items, name, "decontaminate")).as_py() > items.num_rows)
