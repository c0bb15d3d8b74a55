"""Reasons to stop a run early: a request by the user, or an exhausted budget."""

from __future__ import annotations

import time

from ...contracts.errors import BudgetReached, GristmillError
from ...contracts.inference import Usage
from ..file.spec import Budget


class Interrupted(GristmillError):
    """Ctrl-C or a termination signal: committed parts are kept, and the run can be resumed."""

    exit_code = 130
    blames_step = False


class Stop:
    """A flag that a signal handler sets and that long operations check regularly.

    ``patience``: seconds within which the current operation should check the flag. ``farewell``: the message
    if it does not.
    """

    #: Seconds that a stopping run gets to close its engines and files.
    CLOSING = 3.0
    #: Seconds within which an operation checks the flag; training takes longer, since it writes a checkpoint.
    PATIENCE, TRAINING = 2.0, 120.0

    def __init__(self) -> None:
        self.patience = self.PATIENCE
        self.farewell = "stopped; committed results are kept, and the same command resumes"
        self._asked: float | None = None
        self._heard: float | None = None

    def ask(self) -> None:
        self._asked = time.monotonic()

    @property
    def asked(self) -> bool:
        return self._asked is not None

    @property
    def overdue(self) -> bool:
        """Was the stop requested so long ago that the operation will not react to it?"""
        if self._heard is not None:
            return time.monotonic() - self._heard > self.CLOSING
        return self._asked is not None and time.monotonic() - self._asked > self.patience

    def check(self) -> None:
        """Raise Interrupted if a stop was requested."""
        if self.asked:
            self._heard = self._heard or time.monotonic()
            raise Interrupted("stopped on request")


class BudgetTracker:
    """Tracks the run's usage, over all its sessions, against its budget."""

    def __init__(self, budget: Budget, *, usage: Usage, rows: int, seconds: float) -> None:
        self.budget = budget
        self.usage = usage
        self.rows = rows
        self._seconds_before = seconds
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Working time of this session and all earlier ones."""
        return self._seconds_before + time.monotonic() - self._started

    def record(self, usage: Usage, rows: int) -> None:
        """Add the usage of a committed micro-batch and the number of rows that it generated."""
        self.usage.add(usage)
        self.rows += rows

    def spent(self) -> dict[str, float]:
        """Tokens, rows, dollars and seconds so far."""
        return {
            "tokens": self.usage.tokens,
            "rows": self.rows,
            "usd": self.usage.usd,
            "time": round(self.seconds, 1),
        }

    def would_reach(self, usage: Usage, rows: float) -> bool:
        """Is a limit of tokens, rows or dollars reached by what is spent and this together?"""
        coming = {"tokens": usage.tokens, "rows": rows, "usd": usage.usd}
        spent = self.spent()
        return any(
            spent[name] + coming[name] >= limit for name, limit in self.limits().items() if name in coming
        )

    def limits(self) -> dict[str, float]:
        """The limits that the budget sets."""
        return {
            name: limit
            for name in ("tokens", "rows", "usd", "time")
            if (limit := getattr(self.budget, name)) is not None
        }

    def check(self) -> None:
        """Raise BudgetReached if a limit is reached."""
        spent = self.spent()
        for name, limit in self.limits().items():
            if spent[name] >= limit:
                used = f"{_amount(name, limit, unit=True)} is spent ({_amount(name, spent[name])})"
                raise BudgetReached(
                    f"the budget of {used}: raise it with --set budget.{name}=... and run again to continue "
                    "from here"
                )


def _amount(name: str, value: float, *, unit: bool = False) -> str:
    """A quantity of a budget as text, with its unit if wanted."""
    if name == "usd":
        return f"${value:,.2f}"
    units = {"time": " seconds"}.get(name, f" {name}") if unit else ""
    return f"{value:,.0f}{units}"
