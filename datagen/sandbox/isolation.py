"""Finds the isolation that this machine offers, by starting a zygote with the code that the sandbox uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .bubblewrap import BubblewrapCalls
from .failures import DidNotStart, NotIsolated
from .launching import PATIENT_START, START, Isolation, Way, Zygote

HOW_TO_ALLOW = (
    "allow user namespaces: sysctl user.max_user_namespaces above 0, "
    "kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); or install bubblewrap, which may be "
    "allowed what others "
    "are not; in a container, run it with a seccomp profile that lets it unshare and mount"
)
Worker = Zygote | BubblewrapCalls
_Made = TypeVar("_Made", bound=Worker)


def start(packages: Sequence[str] = (), preload: Sequence[str] = (), *, unsafe: bool = False) -> Worker:
    """Start a zygote with the best isolation available on this machine.

    The first choice is our own namespaces, where processes stay warm. The second is bubblewrap, with one call
    per run. Raises NotIsolated, with the reasons, if there is neither and ``unsafe`` is false; NotReady; and
    DidNotStart if a zygote was too slow or was killed, twice. DidNotStart does not mean that isolation is
    missing.
    """
    ways: list[Way] = ["namespaces", "bubblewrap"]
    if unsafe:
        ways.append("unsafe")
    reasons = []
    for way in ways:
        try:
            return start_as(way, packages, preload)
        except NotIsolated as refused:
            reasons.append(str(refused))
    raise NotIsolated("; ".join(reasons))


def start_as(way: Way, packages: Sequence[str] = (), preload: Sequence[str] = ()) -> Worker:
    """Start a zygote with exactly this kind of isolation. Raises as :func:`start` does."""
    if way == "bubblewrap":
        return _patiently(lambda patience: BubblewrapCalls(packages, preload, patience=patience))
    return _patiently(lambda patience: Zygote(way, packages, preload, patience=patience))


def _patiently(started: Callable[[float], _Made]) -> _Made:
    try:
        return started(START)
    except DidNotStart:
        return started(PATIENT_START)


def examine() -> Isolation | str:
    """The isolation of runs on this machine, or the reason why there is none. Raises DidNotStart."""
    try:
        zygote = start()
    except NotIsolated as refused:
        return str(refused)
    try:
        return zygote.isolation
    finally:
        zygote.close()
