"""The base class of a mutation operator."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..source_text import Replacement, SourceText


@dataclass(frozen=True, slots=True)
class TextChange:
    """A change to the text, and a short description of the mistake (as in "uses `<` for `<=`")."""

    replacement: Replacement
    mistake: str


class Mutation(ABC):
    """One kind of mistake. ``kind``: its name in rows and parameters."""

    kind: ClassVar[str]

    @abstractmethod
    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        """Yield every way to make this mistake at ``node`` in ``function``, in a fixed order."""
