"""Mixtures: in which order the rows of several sources are trained on, each source in its share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...contracts.errors import DataError
from ...contracts.training import INPUT
from .examples import Example
from .lazy_examples import ids_of, rows_of, tokens_of

if TYPE_CHECKING:
    import pyarrow as pa

#: When a mixture ends: with the first source that has no rows left, or when all have been read.
Until: TypeAlias = Literal["first_exhausted", "all_exhausted"]
#: (rows of a source, number of the pass) -> the order of its rows in this pass.
OrderOfPass: TypeAlias = Callable[[Sequence[int], str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Mixture:
    """The sources of the rows and their weights.

    ``names``: of the sources. ``weights``: of each, its share of all tokens, relative to the others.
    ``source_of``: for each example, the number of its source.
    """

    names: Sequence[str]
    weights: Sequence[float]
    source_of: Sequence[int]
    until: Until

    @classmethod
    def of(
        cls, table: pa.Table, examples: Sequence[Example], weights: Sequence[float], until: Until
    ) -> Mixture:
        """Read the sources of the examples from the column of the ``table`` that the runner adds.

        Raises DataError if a source has no row that can be trained on.
        """
        inputs = table[INPUT].combine_chunks()
        names = inputs.dictionary.to_pylist()
        numbers = inputs.indices.to_pylist()
        mixture = cls(names, weights, [numbers[row] for row in rows_of(examples)], until)
        for number, name in enumerate(names):
            if number not in mixture.source_of:
                raise DataError(
                    f"mix: no row of {name!r} can be trained on, so it cannot have its share: correct its "
                    "rows, or remove it from the step's inputs and its weight from mix"
                )
        return mixture

    def order(self, lengths: Sequence[int], passes: int, order_of: OrderOfPass) -> list[int]:
        """Return the examples in the order in which they are trained on.

        ``lengths``: tokens of each. The next one is always from the source that lacks most of its share of
        the tokens so far, so the shares hold in each part of the training and not only on average. A source
        that is read to its end begins again, until the first source (or all) was read ``passes`` times.
        """
        rows: list[list[int]] = [[] for _ in self.names]
        for example, source in enumerate(self.source_of):
            rows[source].append(example)
        tokens = [0.0] * len(rows)
        drawn = [0] * len(rows)
        queues: list[Sequence[int]] = [()] * len(rows)
        order: list[int] = []
        while True:
            done = [count // len(own) for count, own in zip(drawn, rows)]
            if self.until == "all_exhausted" and min(done) >= passes:
                return order
            source = min(range(len(rows)), key=lambda each: tokens[each] / self.weights[each])
            if self.until == "first_exhausted" and done[source] >= passes:
                return order
            place = drawn[source] % len(rows[source])
            if place == 0:
                queues[source] = order_of(rows[source], f"{source}:{done[source]}")
            example = queues[source][place]
            order.append(example)
            drawn[source] += 1
            tokens[source] += lengths[example]

    def drawn(
        self, steps: Iterable[Sequence[Sequence[int]]], examples: Sequence[Example]
    ) -> Mapping[str, Mapping[str, float]]:
        """Return what was drawn from each source in the ``steps`` that were made.

        ``passes``: how often it was read. ``share``: of all tokens.
        """
        ids, lengths = ids_of(examples), tokens_of(examples)
        taken: list[list[int]] = [[] for _ in self.names]
        for packs in steps:
            for example in chain.from_iterable(packs):
                taken[self.source_of[example]].append(example)
        tokens = [sum(lengths[example] for example in own) for own in taken]
        return {
            name: {
                "rows": len({ids[example] for example in own}),
                "tokens": tokens[number],
                "share": tokens[number] / sum(tokens),
                "passes": len(own) / self.source_of.count(number),
            }
            for number, (name, own) in enumerate(zip(self.names, taken))
        }
