"""Runs tasks on the machines of a Ray cluster, which read and write the run directory themselves."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import ray

from ....contracts import secrets, user_function
from ....contracts.errors import StoreError
from ....contracts.guard import guard_worker
from ...store.files import disk, stamp
from ...store.parts import Part
from ...store.spill import Spill
from .pool import CHECK_SECONDS, Task, ThreadTasks
from .tasks import FileMade

#: Tasks reserve no core, since an engine may have it: as many run at a time as there are cores.
_SPREAD = {"num_cpus": 0, "max_retries": 4, "scheduling_strategy": "SPREAD"}

#: Results that are files.
_FILES = (Part, Spill, FileMade)


class RayTasks:
    """A task whose worker or node is lost is repeated elsewhere.

    The driver carries out what no worker could: one that does not see the run directory cannot read its rows,
    and what it writes does not appear.
    """

    apart: ClassVar[bool] = True

    @property
    def width(self) -> int:
        return int(ray.cluster_resources().get("CPU", 1))

    def within(self, width: int) -> RayTasks:
        return self

    def run(self, tasks: Iterable[Task], done: Callable[[int, Any], None], check: Callable[[], None]) -> None:
        remote = ray.remote(_carry_out).options(**_SPREAD)
        setup = ray.put((Path.cwd(), secrets.learned()))
        waiting, running, left = iter(enumerate(tasks)), dict[Any, tuple[int, Task]](), []
        try:
            while True:
                check()
                while len(running) < self.width and (item := next(waiting, None)) is not None:
                    # Pickled here: a worker must know where a user's own functions are before it reads it.
                    running[remote.remote(setup, pickle.dumps(item[1]))] = item
                if not running:
                    break
                for reference in ray.wait(list(running), timeout=CHECK_SECONDS)[0]:
                    item = running.pop(reference)
                    result = _result(reference)
                    if result is not None and _arrived(result):
                        done(item[0], result)
                    else:
                        left.append(item)
        finally:
            for reference in running:
                ray.cancel(reference, force=False)
        here = ThreadTasks()
        here.run((task for _, task in left), lambda place, result: done(left[place][0], result), check)


def _carry_out(setup: tuple[Path, frozenset[str]], task: bytes) -> Any:
    """Carry out a task, in a worker."""
    guard_worker()
    folder, keys = setup
    with disk(folder, "cannot read"):
        os.chdir(folder)  # the run directory may be relative to it
    for secret in keys:
        secrets.learn_key(secret)
    user_function.look_in(folder)
    return pickle.loads(task)()


def _arrived(result: Any) -> bool:
    """Are the files of a result, if it has any, on a disk that this process sees?"""
    files = [each for each in (result if isinstance(result, list) else [result]) if isinstance(each, _FILES)]
    return all(stamp(each.path) != (0, 0, 0) for each in files)


def _result(reference: Any) -> Any:
    """What a task gives; None if it is to be carried out here. Raises the error of the task."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StoreError):
            return None
        raise error.cause or error from None
    except ray.exceptions.RayError:  # a lost worker, again and again
        return None
