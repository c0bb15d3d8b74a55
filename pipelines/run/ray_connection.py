"""The connection of a run to a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ...contracts.errors import GristmillError


def connect(address: str | None) -> bool:
    """Connect to the cluster at ``address`` (or in RAY_ADDRESS), else start one on this machine.

    True if it was started here. Raises GristmillError if no cluster answers.
    """
    if ray.is_initialized():
        return False
    # Without an address Ray would look for the address of an earlier cluster, dead or not, and wait for it.
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        with _own_handler():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address is None else None,
            )
    except (ConnectionError, RuntimeError) as error:
        raise GristmillError(
            f"no Ray cluster answers at {address}: {error}; start one with `ray start --head`, and see "
            "RAY_AUTH_MODE and RAY_AUTH_TOKEN if it asks for a token"
        ) from error
    return True


def disconnect(started: bool) -> None:
    """Disconnect from the cluster, and stop it if this run started it."""
    if started:
        ray.shutdown()


@contextmanager
def _own_handler() -> Iterator[None]:
    """Keep what this process does at SIGTERM: Ray would end it, without saying why and how to go on."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
