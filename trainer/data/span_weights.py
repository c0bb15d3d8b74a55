"""Weights of spans of a response as weights of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ...contracts.number_values import as_number
from .unfit import Unfit


class Span(NamedTuple):
    """The characters from ``start`` to before ``end`` of a response, and the ``weight`` of their loss."""

    start: int
    end: int
    weight: float


def read_spans(given: object, length: int) -> list[Span]:
    """Return the spans of a row's column ``span_weights``, by their start.

    ``given``: a list of {start, end, weight}. ``length``: characters of the response. Raises Unfit for spans
    outside the response or over each other, and for weights that are negative or not finite.
    """
    if not isinstance(given, (list, tuple)):
        raise Unfit("wrong weights", f"its span weights are {given!r:.40}, not a list of spans")
    spans = sorted(_span(number, each, length) for number, each in enumerate(given, 1))
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise Unfit(
                "wrong weights",
                f"its spans {one.start} to {one.end} and {other.start} to {other.end} overlap",
            )
    return spans


def weigh_tokens(spans: Sequence[Span], places: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Return the weight of each token: the mean over its characters, which have weight 1 outside of spans.

    ``places``: start and end of each token, in characters of the response; a token of no characters, such as
    the end of turn, has weight 1.
    """
    return tuple(_mean(spans, start, end) for start, end in places)


def _mean(spans: Sequence[Span], start: int, end: int) -> float:
    if start >= end:
        return 1.0
    change = sum(
        (span.weight - 1.0) * (min(end, span.end) - max(start, span.start))
        for span in spans
        if span.start < end and start < span.end
    )
    return 1.0 + change / (end - start)


def _span(number: int, given: object, length: int) -> Span:
    found: list[Any] = [given.get(name) for name in Span._fields] if isinstance(given, dict) else []
    if len(found) != 3 or not all(_is_number(each) for each in found):
        raise Unfit(
            "wrong weights", f"span {number} of its span weights is {given!r:.60}, not {{start, end, weight}}"
        )
    start, end, weight = found
    if start != int(start) or end != int(end) or not 0 <= start < end <= length:
        raise Unfit(
            "wrong weights",
            f"span {number} of its span weights is from {start} to {end}, but the response has {length} "
            "characters",
        )
    if weight < 0:
        raise Unfit("wrong weights", f"the weight of span {number} of its span weights is {weight}: negative")
    return Span(int(start), int(end), float(weight))


def _is_number(value: object) -> bool:
    return as_number(value) is not None and not isinstance(value, bool)
