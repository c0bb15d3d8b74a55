"""Trains on a Ray cluster, in the processes of Ray Train.

Ray Train places the processes and joins them in a process group. If one is lost, alone or with its node, all
of them start again from the checkpoint in the run directory, as many as the cluster then has room for. All
nodes must see the run directory; if one does not, the driver trains itself. An actor beside the driver
passes on progress, the wish to stop, and the result.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, TypeAlias

import pyarrow as pa
import ray

from ....contracts.context import Context
from ....contracts.errors import GristmillError, StoreError
from ....contracts.training import Train, Trained
from ...store.files import disk
from ..budget import Interrupted
from .group import PATIENCE, backend
from .here import train_here
from .job import TrainingJob, packed, unpacked
from .room import LOOK_SECONDS, Room, Waiting, nodes, settle

#: Done, total, unit and figures.
Progress: TypeAlias = tuple[float, float, str, dict[str, float]]


class NotShared(StoreError):
    """A node does not see the run directory."""


class Desk:
    """An actor between the driver and the first process of a training."""

    def __init__(self) -> None:
        self._progress: list[Progress] = []
        self._outcome: Trained | GristmillError | None = None
        self._stopping = False

    def report(self, done: float, total: float, unit: str, figures: dict[str, float]) -> None:
        self._progress.append((done, total, unit, figures))

    def finish(self, outcome: Trained | GristmillError) -> None:
        """Keep the first outcome: after an error, the other processes have errors too."""
        self._outcome = self._outcome or outcome

    def news(self, stop: bool) -> list[Progress]:
        """What was reported since the last call. ``stop``: whether the training is to stop."""
        self._stopping = stop
        found, self._progress = self._progress, []
        return found

    def stopping(self) -> bool:
        return self._stopping

    def outcome(self) -> Trained | GristmillError | None:
        return self._outcome


def train_on_ray(operator: Train, table: pa.Table, context: Context, tell: Callable[[str], None]) -> Trained:
    """Train on the cluster. Raises what the training or ``context.check`` raises.

    ``tell``: reports a loss, and that there is no room. Raises GristmillError if processes were lost more
    often than ``max_restarts``, or if the cluster has no room for too long.
    """
    job = TrainingJob.of(operator, table, context)
    here: Any = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    desk: Any = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        outcome = _outcome(job, desk, context, tell)
    finally:
        ray.kill(desk)
    if isinstance(outcome, NotShared):
        tell(f"{outcome.message}; the driver trains itself")
        return train_here(operator, table, context, tell)
    if isinstance(outcome, GristmillError):
        raise outcome
    return outcome


def _outcome(
    job: TrainingJob, desk: Any, context: Context, tell: Callable[[str], None]
) -> Trained | GristmillError:
    """Train until there is an outcome, and again with the processes that are left if one is lost."""
    left, waiting = job.operator.max_restarts, Waiting(context, tell)
    room = waiting.for_gpus(job.operator, None)
    while True:
        there = nodes()
        lost = _follow(_trainer(job, desk, room), desk, context)
        outcome: Trained | GristmillError | None = ray.get(desk.outcome.remote())
        if outcome is not None:
            return outcome
        assert lost is not None
        if _had_no_room(lost):
            waiting.look_again(room.words)
            room = waiting.for_gpus(job.operator, room)
            continue
        if left == 0:
            raise _given_up(lost)
        left -= 1
        waiting.over()
        settle()
        what = (
            "a node of the Ray cluster was lost"
            if nodes() < there
            else f"one of {room.size} training processes on Ray was lost ({_last_line(lost)})"
        )
        room = waiting.for_gpus(job.operator, room)
        tell(f"{what}; {room.words} go on from the last checkpoint")


def _follow(trainer: Any, desk: Any, context: Context) -> Exception | None:
    """Wait for the training, passing on progress and the wish to stop. Returns why it was lost, if it was.

    Raises what asked it to stop.
    """
    asked: BaseException | None = None

    def pass_on() -> None:
        for done, total, unit, figures in ray.get(desk.news.remote(asked is not None)):
            context.progress(done, total, unit, **figures)

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(trainer.fit)
        while not wait_for([training], LOOK_SECONDS).done:
            if asked is None:
                try:
                    context.check()
                except BaseException as error:
                    asked = error
            pass_on()
        lost = training.exception()
    pass_on()
    if asked is not None:
        raise asked
    if lost is not None and not isinstance(lost, Exception):
        raise lost
    return lost


def _trainer(job: TrainingJob, desk: Any, room: Room) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    return TorchTrainer(
        _train,
        # In a list, since Ray would fetch a bare reference.
        train_loop_config={"job": [ray.put(packed(job))], "desk": desk},
        torch_config=TorchConfig(
            backend=backend(job.operator, room.size if room.gpus else 0),
            timeout_s=int(PATIENCE.total_seconds()),
        ),
        scaling_config=ScalingConfig(
            num_workers=room.size,
            use_gpu=room.gpus,
            resources_per_worker=dict(room.each),
            placement_strategy="PACK" if room.gpus else "SPREAD",
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(job.workdir),
            # Ray Train would wait for as many processes as before, without a word and without an end.
            failure_config=FailureConfig(  # type: ignore[call-arg]  # typed as that of Ray Train V1
                max_failures=0, controller_failure_limit=0, max_preemption_failures=0
            ),
        ),
    )


def _train(config: dict[str, Any]) -> None:
    """Train, as one process of Ray Train."""
    import ray.train
    import torch

    place, desk = ray.train.get_context(), config["desk"]
    first = place.get_world_rank() == 0
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // place.get_local_world_size()))

    def report(step: str, done: float, total: float, unit: str, figures: Mapping[str, float]) -> None:
        if first:
            desk.report.remote(done, total, unit, dict(figures))

    def stopping() -> None:
        if first and ray.get(desk.stopping.remote()):
            raise Interrupted("stopped on request")

    if ray.get(desk.outcome.remote()) is not None:
        return  # an error that starting again does not mend
    try:
        trained = _opened(config["job"][0]).carry_out(report, stopping)
    except GristmillError as error:
        ray.get(desk.finish.remote(error))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the others must not wait for this one
        return
    if first:
        ray.get(desk.finish.remote(trained))


def _opened(reference: Any) -> TrainingJob:
    """Read the job. Raises NotShared, in all processes, if one of them does not see the run directory."""
    from torch import distributed

    problem, job = None, None
    try:
        job = unpacked(ray.get(reference))
        with disk(job.workdir, "cannot read"):
            os.listdir(job.workdir)
    except StoreError as error:
        problem = error.message
    problems: list[str | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(problems, problem)
    if found := [each for each in problems if each is not None]:
        raise NotShared(found[0])
    assert job is not None
    return job


def _had_no_room(error: Exception) -> bool:
    """Whether the processes could not be started, as Ray Train says."""
    cause = getattr(error, "controller_failure", None)
    return type(cause).__name__.startswith("WorkerGroupStartup")


def _given_up(error: Exception) -> GristmillError:
    """What to say about a training whose processes were lost more often than it may start again."""
    return GristmillError(
        f"the training on Ray was lost too often ({_last_line(error)}); run again to go on from its last "
        "checkpoint, or raise max_restarts"
    )


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(error).__name__
