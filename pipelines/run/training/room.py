"""How many training processes a Ray cluster has room for, at the start and after a loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from ....contracts.context import Context
from ....contracts.errors import GristmillError
from ....contracts.training import Train
from .group import backend

#: Seconds for which a training waits for room on the cluster.
WAIT_SECONDS = 1800.0
#: Seconds after a loss in which the cluster finds out which of its nodes are gone.
SETTLE_SECONDS = 60.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Room:
    """``size`` processes, of which each gets the resources ``each``. ``gpus``: whether each gets a GPU."""

    size: int
    gpus: bool
    each: Mapping[str, float]

    @classmethod
    def of(cls, operator: Train, resources: Mapping[str, float]) -> Room:
        """As many processes as the step asks for; where they get GPUs, at most as many as there are."""
        gpus = int(resources.get("GPU", 0)) if backend(operator, 1) != "gloo" else 0
        size = operator.processes_on(gpus)
        if gpus:
            return cls(min(size, gpus), True, {"GPU": 1.0})
        return cls(size, False, {"CPU": min(1.0, resources.get("CPU", 1) / size)})

    @property
    def words(self) -> str:
        kind = "GPU" if self.gpus else "core"
        share = next(iter(self.each.values()))
        return f"{self.size} training process{'es' if self.size > 1 else ''} with {share:g} {kind} each"


class Waiting:
    """Waits for room, with one message, for ``WAIT_SECONDS`` at most."""

    def __init__(self, context: Context, tell: Callable[[str], None]) -> None:
        self._context, self._tell = context, tell
        self._end: float | None = None

    def over(self) -> None:
        """There was room: what is waited for next has all the time again."""
        self._end = None

    def look_again(self, wanted: str) -> None:
        """Pause. Raises GristmillError at the end of the time, and what ``context.check`` raises."""
        if self._end is None:
            self._end = time.monotonic() + WAIT_SECONDS
            self._tell(f"the cluster has no room for {wanted}; waiting up to {WAIT_SECONDS / 60:g} minutes")
        if time.monotonic() > self._end:
            raise GristmillError(
                f"the cluster had no room for {wanted} in {WAIT_SECONDS / 60:g} minutes: add a node, or give "
                "fewer `processes`; run again to go on from the last checkpoint"
            )
        self._context.check()
        time.sleep(LOOK_SECONDS)

    def for_gpus(self, operator: Train, before: Room | None) -> Room:
        """The room of the cluster, once it has a GPU if the processes ``before`` had some."""
        while True:
            room = Room.of(operator, ray.cluster_resources())
            if room.gpus or before is None or not before.gpus:
                return room
            self.look_again("training processes with a GPU each")


def nodes() -> int:
    """The number of nodes that the cluster believes to be alive."""
    return sum(bool(node["Alive"]) for node in ray.nodes())


def settle() -> None:
    """Wait until every node answers or is known to be lost: a process is missed before its node is."""
    ping: Any = ray.remote(_nothing)
    place: Any = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    pings = [
        ping.options(
            num_cpus=0, max_retries=0, scheduling_strategy=place(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    ]
    ray.wait(pings, num_returns=len(pings), timeout=SETTLE_SECONDS)


def _nothing() -> None:
    """Answers a ping."""
