"""Examples that are made when they are asked for, so that a training need not hold them all.

:class:`Changed` adds what an objective computes for each example, :class:`Made` derives others from them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from .examples import Example


class Examples(Sequence[Example]):
    """Examples that are made when they are asked for. Their sizes are known without making any."""

    @property
    @abstractmethod
    def tokens(self) -> list[int]:
        """Number of tokens of each example."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """Number of tokens of the longest sequence."""

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """The ``id`` of each example."""

    @property
    @abstractmethod
    def rows(self) -> list[int]:
        """The ``row`` of each example."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of the file, all of which may be in memory at a time."""

    @abstractmethod
    def at(self, index: int) -> Example:
        """Return the example at ``index``, from 0 on."""

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self.at(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return self.at(place)


class Changed(Examples):
    """Some of ``examples``, in the order of ``places``, with other values of some fields.

    ``fields``: by name, a value for each of ``places``; never ``sequences``, whose sizes are known.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        fields: Mapping[str, Sequence[Any]],
        places: Sequence[int] | None = None,
    ) -> None:
        self._examples, self._fields = examples, fields
        self._places = range(len(examples)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def tokens(self) -> list[int]:
        known = tokens_of(self._examples)
        return [known[place] for place in self._places]

    @property
    def longest(self) -> int:
        return longest_of(self._examples)

    @property
    def ids(self) -> list[str]:
        known = ids_of(self._examples)
        return [known[place] for place in self._places]

    @property
    def rows(self) -> list[int]:
        known = rows_of(self._examples)
        return [known[place] for place in self._places]

    @property
    def size(self) -> int:
        return size_of(self._examples)

    def at(self, index: int) -> Example:
        changes = {name: values[index] for name, values in self._fields.items()}
        return replace(self._examples[self._places[index]], **changes)


class Made(Examples):
    """What ``make`` returns for each of ``examples``. All are made once, one by one, to know their sizes."""

    def __init__(self, examples: Sequence[Example], make: Callable[[Example], Example]) -> None:
        self._examples, self._make = examples, make
        self._tokens: list[int] = []
        self._longest = 0
        for example in map(make, examples):
            self._tokens.append(example.tokens)
            self._longest = max(self._longest, example.longest)

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def tokens(self) -> list[int]:
        return self._tokens

    @property
    def longest(self) -> int:
        return self._longest

    @property
    def ids(self) -> list[str]:
        return ids_of(self._examples)

    @property
    def rows(self) -> list[int]:
        return rows_of(self._examples)

    @property
    def size(self) -> int:
        return size_of(self._examples)

    def at(self, index: int) -> Example:
        return self._make(self._examples[index])


def tokens_of(examples: Sequence[Example]) -> list[int]:
    """Return the number of tokens of each example."""
    return examples.tokens if isinstance(examples, Examples) else [example.tokens for example in examples]


def longest_of(examples: Sequence[Example]) -> int:
    """Return the number of tokens of the longest sequence; 0 without examples."""
    if isinstance(examples, Examples):
        return examples.longest
    return max((example.longest for example in examples), default=0)


def ids_of(examples: Sequence[Example]) -> list[str]:
    """Return the ``id`` of each example."""
    return examples.ids if isinstance(examples, Examples) else [example.id for example in examples]


def rows_of(examples: Sequence[Example]) -> list[int]:
    """Return the ``row`` of each example."""
    return examples.rows if isinstance(examples, Examples) else [example.row for example in examples]


def size_of(examples: Sequence[Example]) -> int:
    """Return the bytes of the file that the examples lie in; 0 for those that lie in none."""
    return examples.size if isinstance(examples, Examples) else 0
