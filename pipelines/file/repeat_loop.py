"""The names of repeated steps in ``loop:``, where a name is the step of the last turn, as outside of a block.

loop:                                              loop:
  promote: {student: base}                           promote: {student_4: base}
  gate: {promote: verdict, retain: {recall: 1}}  ->  gate: {promote: verdict_4, retain: {recall_4: 1}}
  watch: {balance.after.entropy: {falls: 0.3}}       watch: {balance_4.after.entropy: {falls: 0.3}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .blocks import PREVIOUS
from .document import Document, Path

#: The resolved form of a value that names steps, given its place.
Named: TypeAlias = Callable[[Any, Path], Any]
#: Records that what was written at the first place is now at the second.
Moved: TypeAlias = Callable[[Path, Path], None]

#: The first part of a dotted name in a condition.
_FIRST = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?=\s*\.)")


def name_in_loop(document: Document, named: Named, moved: Moved, repeated: Iterable[str]) -> None:
    """Resolve the names of steps in ``loop:``. ``repeated``: names that mean nothing without blocks."""
    loop = document.value.get("loop")
    if not isinstance(loop, dict):
        return
    in_loop = _InLoop(document, named, moved)
    in_loop.resolve(loop, "promote", ("loop",))
    in_loop.resolve(loop, "pursue", ("loop",))
    in_loop.resolve(loop, "watch", ("loop",))
    if isinstance(gate := loop.get("gate"), dict):
        for role in ("promote", "transfer", "retain"):
            in_loop.resolve(gate, role, ("loop", "gate"))
    if isinstance(loop.get("when"), str):
        written = {name.replace("-", "_"): name for name in repeated}

        def resolved(found: re.Match[str]) -> str:
            name = found[0]
            return str(named(written[name], ("loop", "when"))).replace("-", "_") if name in written else name

        loop["when"] = _FIRST.sub(resolved, loop["when"])


@dataclass(frozen=True, slots=True)
class _InLoop:
    """Resolves names that are values, and names that are keys, with or without a figure after a dot."""

    document: Document
    named: Named
    moved: Moved

    def resolve(self, holder: dict[str, Any], key: str, path: Path) -> None:
        """Resolve ``holder[key]``: a name, a list of names, or a mapping whose keys are names."""
        place = (*path, key)
        given = holder.get(key)
        if isinstance(given, dict):
            made: dict[str, Any] = {}
            for name, value in given.items():
                for now in self._keys(name, (*place, name)):
                    if now in made:
                        said = f"two names of one step, {now.partition('.')[0]!r}: remove one of them"
                        self.document.blame((*place, name), said, key=True)
                    made[now] = value
            holder[key] = made
        elif given is not None:
            holder[key] = self.named(given, place)

    def _keys(self, name: str, path: Path) -> list[str]:
        """The names that a key stands for: one, or those of all turns (``verdict_*``)."""
        before = PREVIOUS if name.startswith(PREVIOUS) else ""
        step, dot, figure = name.removeprefix(before).partition(".")
        named = self.named(f"{before}{step}", path)
        found = [f"{each}{dot}{figure}" for each in (named if isinstance(named, list) else [named])]
        for now in found:
            if now != name:
                self.moved(path, (*path[:-1], now))
        return found
