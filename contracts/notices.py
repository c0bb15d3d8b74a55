"""What a part far below the runner has to tell the user: of a server that is away, of a setting left out.

Part of the contracts. The runner listens while a run goes on; without a listener a notice is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []


def tell(text: str) -> None:
    """Tell the user something that does not stop the run."""
    for listener in _listeners:
        listener(text)
    if not _listeners:
        logging.getLogger("gristmill").warning("%s", text)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Hear every notice of this process while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
