"""Pairs of ranked scores: strategies that choose positions in a list sorted from the best score down."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from random import Random

#: Tolerance for rounding of pass rates: 0.7 - 0.3 counts as 0.4.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Apart:
    """The condition on a pair of scores.

    The better score exceeds the worse by at least ``margin``. ``chosen`` and ``rejected`` are the minimum of
    each, if any.
    """

    margin: float = 0.0
    chosen: float | None = None
    rejected: float | None = None

    def __call__(self, better: float, worse: float) -> bool:
        return (
            self._wide(better, worse)
            and (self.chosen is None or better >= self.chosen)
            and (self.rejected is None or worse >= self.rejected)
        )

    def _wide(self, better: float, worse: float) -> bool:
        return better > worse and better - worse >= self.margin - _ROUNDING

    def worse(self, scores: Sequence[float], better: int) -> range:
        """Return the positions that can be rejected for the one at ``better``, by two binary searches.

        ``scores`` must be in descending order.
        """
        if self.chosen is not None and scores[better] < self.chosen:
            return range(0)
        start = bisect_left(scores, True, key=lambda score: self._wide(scores[better], score))
        stop = len(scores)
        if self.rejected is not None:
            stop = bisect_right(scores, -self.rejected, key=lambda score: -score)
        return range(start, stop)


def best_worst(scores: Sequence[float], apart: Apart) -> Iterator[tuple[int, int]]:
    """Pair the best with the worst, the second best with the second worst, and so on."""
    lowest = [
        place for place in _worst_first(scores) if apart.rejected is None or scores[place] >= apart.rejected
    ]
    pairs = zip(range(len(scores)), lowest, strict=False)
    # The margins decrease from pair to pair.
    return takewhile(lambda pair: apart(scores[pair[0]], scores[pair[1]]), pairs)


def every(scores: Sequence[float], apart: Apart) -> Iterator[tuple[int, int]]:
    """Yield all pairs: those of the best score first, in order of falling margin."""
    order = _worst_first(scores)
    for better in range(len(scores)):
        worse = apart.worse(scores, better)
        # Equal scores are all within this span or none, so that it is one of `order`, too.
        for place in range(len(scores) - worse.stop, len(scores) - worse.start):
            yield better, order[place]


def _worst_first(scores: Sequence[float]) -> list[int]:
    """The positions in ascending order of their scores. Ties go to the earlier one."""
    return sorted(range(len(scores)), key=scores.__getitem__)


def drawn(scores: Sequence[float], apart: Apart, pairs: int | None, seed: int) -> Iterator[tuple[int, int]]:
    """Draw ``pairs`` of all pairs (None: all) uniformly, without listing all of them."""
    spans = [apart.worse(scores, better) for better in range(len(scores))]
    ends = list(accumulate(len(span) for span in spans))
    total = ends[-1] if ends else 0
    for number in Random(seed).sample(range(total), total if pairs is None else min(pairs, total)):
        better = bisect_right(ends, number)
        yield better, spans[better][number - ends[better]]
