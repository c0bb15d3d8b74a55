"""Limits on rendering a prompt: processor time, and the sizes of intermediate texts and lists.

Every loop, filter, call and operator of a template is counted here. Each of them is fast on its own, so a
template is bounded without a separate process per row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

#: Maximum characters of a prompt or text, and maximum items of a list, nested items included.
LIMIT = 1_000_000
#: Maximum total of intermediate characters and items that a template may create.
MADE = 50_000_000
#: Maximum processor time per prompt, in seconds.
SECONDS = 2.0
#: Maximum bits of an integer.
BITS = 20_000
#: Steps between two reads of the clock.
_LOOK = 16


class _Meter(threading.local):
    made = steps = look = 0
    until = float("inf")


_METER = _Meter()


def begin() -> None:
    """Reset the counters of this thread."""
    _METER.made = _METER.steps = _METER.look = 0
    _METER.until = float("inf")


def spend(steps: int) -> None:
    """Count steps. Raises SecurityError if the time limit is exceeded."""
    meter = _METER
    meter.steps += steps
    if meter.steps >= meter.look:
        _look(meter)


def _look(meter: _Meter) -> None:
    # Most prompts finish before the clock is first read, which is slower than most steps.
    now = time.thread_time() if meter.look else 0.0
    if meter.look == _LOOK:
        meter.until = now + SECONDS
    meter.look = meter.steps // _LOOK * _LOOK + _LOOK
    if now > meter.until:
        raise SecurityError(f"rendering takes longer than the limit of {SECONDS:g} seconds")


def bounded(length: int) -> None:
    """Raise SecurityError if a text is, or would be, too long."""
    if length > LIMIT:
        raise SecurityError(f"the text would be longer than {LIMIT:,} characters")


def checked(value: Any) -> Any:
    """Count ``value``, the result of an operation, and return it.

    Raises SecurityError if it, or the total, is too large."""
    if type(value) is str or isinstance(value, (str, bytes)):
        size = len(value)
    elif isinstance(value, (list, tuple, dict)):
        size = weight(value)
    elif isinstance(value, int) and value.bit_length() > BITS:
        raise SecurityError(f"an integer of more than {BITS:,} bits")
    else:
        size = 1
    if size > LIMIT:
        bounded(size)
    meter = _METER
    meter.made += size
    meter.steps += 1
    if meter.steps >= meter.look:
        _look(meter)
    if meter.made > MADE:
        raise SecurityError(f"its intermediate texts and lists exceed {MADE:,} characters")
    return value


def shown(value: Any) -> Any:
    """Check ``value`` for printing: an item that a list contains repeatedly counts each time."""
    return value if type(value) is str else checked(value)


def weight(value: Any) -> int:
    """Count the characters and items of a value at all depths, up to the limit."""
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        total += 1
        if isinstance(each, (str, bytes)):
            total += len(each)
        elif isinstance(each, Mapping):
            waiting += each.keys()
            waiting += each.values()
        elif isinstance(each, (list, tuple, set, frozenset)):
            waiting += each
        bounded(total + len(waiting))
    return total


def stepped(values: Any) -> Iterable[Any]:
    """Yield the values of a loop, counting one step each."""
    if isinstance(values, (list, tuple, dict, str)) and len(values) < _LOOK:
        spend(len(values) + 1)
        return values
    return _counted(values)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    steps = 1
    for value in values:
        steps += 1
        if steps == _LOOK:
            spend(steps)
            steps = 0
        yield value
    spend(steps)
