"""What a mutation operator is."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..source import Replacement, Source


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the text, and in a few words what mistake it makes (as in "uses `<` for `<=`")."""

    replacement: Replacement
    mistake: str


class Mutation(ABC):
    """One kind of mistake. ``kind``: its name in rows and parameters."""

    kind: ClassVar[str]

    @abstractmethod
    def changes(self, source: Source, node: ast.AST, function: ast.AST) -> Iterator[Change]:
        """Every way to make this mistake at ``node``, which lies in ``function``; in a fixed order."""
