"""The services that can record a run's metrics. Each is imported only if a file names it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ...contracts.errors import GristmillError


class MetricsError(GristmillError):
    """The metrics service cannot be used: says what to install or set."""


class Tracker(Protocol):
    """A service that records metrics over time."""

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        """Begin to record. ``run``: the run directory, for services that write files."""
        ...

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Record figures, each ``STEP.NAME``."""
        ...

    def finish(self, status: str) -> None:
        """End. ``status``: "done", "failed", or how else the run ended."""
        ...


class Mlflow:
    """Logs to the server of ``MLFLOW_TRACKING_URI``, or to MLflow's default folder."""

    def __init__(self) -> None:
        self._mlflow = _imported("mlflow")

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        self._mlflow.set_experiment(project)
        self._mlflow.start_run()
        self._mlflow.log_params(dict(parameters))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(figures), step=step)

    def finish(self, status: str) -> None:
        self._mlflow.end_run({"done": "FINISHED", "failed": "FAILED"}.get(status, "KILLED"))


class Tensorboard:
    """Writes the event files of TensorBoard to ``RUN/tensorboard``, a folder for each session."""

    def __init__(self) -> None:
        self._writer_class = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        sessions = run / "tensorboard"
        number = len(list(sessions.glob("session-*"))) + 1
        self._writer = self._writer_class(str(sessions / f"session-{number}"), flush_secs=10)
        self._writer.add_text("run", "  \n".join(f"{name}: {value}" for name, value in parameters.items()))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            # TensorBoard groups the curves of a step by what is before the slash.
            self._writer.add_scalar(name.replace(".", "/", 1), value, step)

    def finish(self, status: str) -> None:
        self._writer.close()


class Trackio:
    """Logs to Trackio's local store, or to the Space that its own settings name."""

    def __init__(self) -> None:
        self._trackio = _imported("trackio")

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        self._trackio.init(project=project, config=dict(parameters))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(figures), step=step)

    def finish(self, status: str) -> None:
        self._trackio.finish()


class Wandb:
    """Logs to Weights & Biases, or with ``WANDB_MODE=offline`` to ``RUN/wandb`` (or ``WANDB_DIR``).

    W&B also records printed lines, code, arguments and the machine by default; all of that is off.
    """

    def __init__(self) -> None:
        self._wandb = _imported("wandb")
        self._settings = self._wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_save_requirements=False,
            **dict.fromkeys(("x_disable_meta", "x_disable_machine_info"), True),
        )
        online = self._wandb.setup(settings=self._settings).settings.mode == "online"
        if online and not self._wandb.login(prompt=False, verify=False):
            raise MetricsError(
                "metrics: wandb has no key: set WANDB_API_KEY, run `wandb login` once, or set "
                "WANDB_MODE=offline to record on this machine only"
            )

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        self._run = self._wandb.init(
            project=project,
            config=dict(parameters),
            dir=os.environ.get("WANDB_DIR") or str(run),
            settings=self._settings,
        )
        self._axes: set[str] = set()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        # W&B's own step only grows, and each of our steps counts its own.
        axes = {name.partition(".")[0] for name in figures}
        for axis in axes - self._axes:
            self._run.define_metric(f"{axis}.*", step_metric=f"{axis}.step")
        self._axes |= axes
        self._run.log({**figures, **{f"{axis}.step": step for axis in axes}})

    def finish(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "done" else 1)


#: name -> the service. Each name is an extra of the package, which installs it.
SERVICES: dict[str, type[Tracker]] = {
    "mlflow": Mlflow,
    "tensorboard": Tensorboard,
    "trackio": Trackio,
    "wandb": Wandb,
}


def _imported(module: str, extra: str | None = None) -> Any:
    """The module, or MetricsError if it cannot be imported. ``extra``: the name of what it needs."""
    name = extra or module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MetricsError(
            f"metrics: {name} is not installed; install it with `pip install 'gristmill[{name}]'`"
        ) from error
