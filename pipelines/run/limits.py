"""Why a run may have to stop before its end: a person said so, or the budget is spent."""

from __future__ import annotations

import time

from ..errors import BudgetReached, GristmillError
from ..inference import Usage
from ..spec.model import Budget


class Interrupted(GristmillError):
    """Ctrl-C or a request to terminate: what is committed is kept, and the run can be resumed."""

    exit_code = 130
    blames_step = False


class Stop:
    """A flag that a signal handler sets and that long work looks at now and then.

    ``patience``: seconds in which the work at hand is expected to look. ``farewell``: what to tell where it does not.
    """

    #: Seconds that a run which has heard it gets to close its engines and its files.
    CLOSING = 3.0
    #: Seconds in which work looks, and in which training does, which then writes a checkpoint.
    PATIENCE, TRAINING = 2.0, 120.0

    def __init__(self) -> None:
        self.patience = self.PATIENCE
        self.farewell = "stopped; what is committed is kept, and the same command goes on"
        self._asked: float | None = None
        self._heard: float | None = None

    def ask(self) -> None:
        self._asked = time.monotonic()

    @property
    def asked(self) -> bool:
        return self._asked is not None

    @property
    def overdue(self) -> bool:
        """Was a stop asked for so long ago that nothing is to be expected of the work?"""
        if self._heard is not None:
            return time.monotonic() - self._heard > self.CLOSING
        return self._asked is not None and time.monotonic() - self._asked > self.patience

    def check(self) -> None:
        """Raises Interrupted once a stop was asked for."""
        if self.asked:
            self._heard = self._heard or time.monotonic()
            raise Interrupted("stopped on request")


class Purse:
    """What the run has spent, over all its sessions, against its budget."""

    def __init__(self, budget: Budget, *, usage: Usage, rows: int, seconds: float) -> None:
        self.budget = budget
        self.usage = usage
        self.rows = rows
        self._seconds_before = seconds
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Work time of this session and the ones before it."""
        return self._seconds_before + time.monotonic() - self._started

    def pay(self, usage: Usage, rows: int) -> None:
        """Count what a committed micro-batch cost, and the rows that it generated."""
        self.usage.add(usage)
        if usage.requests:
            self.rows += rows

    def spent(self) -> dict[str, float]:
        """Tokens, rows and seconds so far."""
        return {"tokens": self.usage.tokens, "rows": self.rows, "time": round(self.seconds, 1)}

    def limits(self) -> dict[str, float]:
        """The limits that are set."""
        return {
            name: limit
            for name in ("tokens", "rows", "time")
            if (limit := getattr(self.budget, name)) is not None
        }

    def check(self) -> None:
        """Raises BudgetReached where a limit is reached."""
        spent = self.spent()
        for name, limit in self.limits().items():
            if spent[name] >= limit:
                unit = "seconds" if name == "time" else name
                raise BudgetReached(
                    f"the budget of {limit:,.0f} {unit} is spent ({spent[name]:,.0f}): raise it with "
                    f"--set budget.{name}=... and run again to go on from here"
                )
