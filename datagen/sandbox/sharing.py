"""Mutable containers that both sides of a judged run share.

Each side has a copy, and the copies are kept equal. A container that tests pass to the program gets a mark.
Every message carries the changes of marked containers, so a list that the program sorts is also sorted for
the tests. When only the table of a side still refers to a container, that side says so, and both sides forget
the mark.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

#: [the side that assigned it, its number], as in JSON.
Mark = list[int]
_references = sys.getrefcount


class _Entry:
    __slots__ = ("dirty", "held", "mark", "seen")

    def __init__(self, held: Any, mark: Mark) -> None:
        self.held, self.mark, self.dirty = held, mark, False
        self.look()

    def look(self) -> None:
        """Record the current contents."""
        self.seen = _parts(self.held)
        self.dirty = False

    def changed(self) -> bool:
        now = _parts(self.held)
        if type(now) is bytes:
            return bool(now != self.seen)
        return len(now) != len(self.seen) or not all(map(_same, now, self.seen))


def _same(one: object, other: object) -> bool:
    return one is other


def _parts(held: Any) -> Any:
    if type(held) is SimpleNamespace:
        held = vars(held)
    if isinstance(held, dict):
        return [*dict.keys(held), *dict.values(held)]
    if isinstance(held, bytearray):
        return bytes(held)
    return list(held)


class Shared:
    """The table of one side.

    ``side``: 0 for the judge, 1 for the program. ``always``: mark every container that is sent.
    """

    def __init__(self, side: int, *, always: bool) -> None:
        self._side, self._always = side, always
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._marks: dict[int, tuple[int, int]] = {}
        self._number = 0

    def outgoing(self, held: list[Any], index: int) -> tuple[Mark | None, bool]:
        """The mark of the container ``held[index]``, and whether the other side already has its contents."""
        mark = self._marks.get(id(held[index]))
        if mark is not None:
            entry = self._entries[mark]
            if entry.dirty:
                entry.look()
                return entry.mark, False
            return entry.mark, True
        if not self._always and _references(held[index]) <= _IN_ONE_PLACE:
            return None, False  # no other reference exists, so a copy is indistinguishable
        self._number += 1
        self._enter([self._side, self._number], held[index])
        return [self._side, self._number], False

    def changes(self) -> list[Any]:
        """The containers that changed since both sides were last equal."""
        found = []
        for entry in self._entries.values():
            if entry.changed():
                entry.dirty = True
                found.append(entry.held)
        return found

    def dropped(self) -> list[Mark]:
        """Forget the containers to which only this table refers. Returns their marks."""
        if not self._entries:
            return []
        return [entry.mark for entry in self._lonely()]

    def _lonely(self) -> Iterator[_Entry]:
        for mark in list(self._entries):
            if _references(self._entries[mark].held) <= _IN_THE_TABLE:
                entry = self._entries.pop(mark)
                del self._marks[id(entry.held)]
                entry.held = entry.seen = None
                yield entry

    def find(self, mark: Any) -> Any:
        """The container of a mark; None if there is none."""
        entry = self._entries.get(_key(mark))
        return None if entry is None else entry.held

    def known(self, mark: Any) -> Any:
        """The container of a mark. Raises KeyError."""
        return self._entries[_key(mark)].held

    def synchronized(self, mark: Any, held: Any) -> None:
        """Record that a container is now equal on both sides."""
        entry = self._entries.get(_key(mark))
        if entry is None:
            self._enter(list(mark), held)
        else:
            entry.look()

    def drop(self, marks: Sequence[Any]) -> None:
        """Forget the containers that the other side no longer uses."""
        for mark in marks:
            entry = self._entries.pop(_key(mark), None)
            if entry is not None:
                del self._marks[id(entry.held)]

    def _enter(self, mark: Mark, held: Any) -> None:
        self._entries[_key(mark)] = _Entry(held, mark)
        self._marks[id(held)] = _key(mark)


def _key(mark: Any) -> tuple[int, int]:
    side, number = mark
    return side, number


def _measure_references() -> tuple[int, int]:
    """The reference counts of an object with one reference, and of one in the table.

    They depend on the version of Python.
    """
    outer, held = [[]], []  # type: ignore[var-annotated]
    held.append(outer[0])
    in_one_place = _references(held[0])
    entry = _Entry(held.pop(), [0, 0])
    outer.clear()
    return in_one_place, _references(entry.held)


_IN_ONE_PLACE, _IN_THE_TABLE = _measure_references()
