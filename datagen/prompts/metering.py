"""What rendering one prompt may take: processor time, the texts and lists it makes on the way, and their sizes.

Every loop, filter, call and operator of a template passes here, and each of them alone is quick: so what a template
does is bounded, without a process of its own for each row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

#: Characters that one prompt or text may have, and items that one list may, with what is in them.
LIMIT = 1_000_000
#: Characters and items that a template may make on the way to a prompt.
MADE = 50_000_000
#: Seconds of processor time that one prompt may take.
SECONDS = 2.0
#: Bits that a whole number may have.
BITS = 20_000
#: Steps between two looks at the clock.
_LOOK = 16


class _Meter(threading.local):
    made = steps = look = 0
    until = float("inf")


_METER = _Meter()


def begin() -> None:
    """Count what templates do in this thread from nothing."""
    _METER.made = _METER.steps = _METER.look = 0
    _METER.until = float("inf")


def spend(steps: int) -> None:
    """Count steps. Raises SecurityError where their time is up."""
    meter = _METER
    meter.steps += steps
    if meter.steps >= meter.look:
        _look(meter)


def _look(meter: _Meter) -> None:
    # Most prompts are done before the first look at the clock, which takes longer than many a step.
    now = time.thread_time() if meter.look else 0.0
    if meter.look == _LOOK:
        meter.until = now + SECONDS
    meter.look = meter.steps // _LOOK * _LOOK + _LOOK
    if now > meter.until:
        raise SecurityError(f"it takes more than the {SECONDS:g} seconds that a prompt may")


def bounded(length: int) -> None:
    """Raises SecurityError where a text is, or would be, too long."""
    if length > LIMIT:
        raise SecurityError(f"the text would be longer than {LIMIT:,} characters")


def checked(value: Any) -> Any:
    """``value``, which an operation has made, counted. Raises SecurityError where it, or all of them, are too large."""
    if type(value) is str or isinstance(value, (str, bytes)):
        size = len(value)
    elif isinstance(value, (list, tuple, dict)):
        size = weight(value)
    elif isinstance(value, int) and value.bit_length() > BITS:
        raise SecurityError(f"a whole number of more than {BITS:,} bits")
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
        raise SecurityError(f"it makes texts and lists of more than {MADE:,} characters on the way")
    return value


def shown(value: Any) -> Any:
    """``value`` as it may be printed: what a list holds many times is printed as many times."""
    return value if type(value) is str else checked(value)


def weight(value: Any) -> int:
    """The characters and items in a value, at all depths; counted no further than the limit."""
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
    """The values of a loop, each of them a step."""
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
