"""Asks a server until a request is answered, cannot be, or has been tried enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...contracts.counting import counted
from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Request, Usage
from ...contracts.notices import tell
from .backoff import pause_before
from .openai_dialect import Dialect
from .openai_endpoint import Endpoint, Slot
from .openai_trouble import ODD_FORM, Trouble, holds_for_all, not_a_completion

if TYPE_CHECKING:
    from .openai_options import OpenAIOptions
    from .openai_spending import Spending

Json = dict[str, Any]
T = TypeVar("T")
#: Seconds between two attempts to reach a server that is away.
KNOCKING = 10.0
#: Refusals with status 403 in a row that are about the key; fewer, after answers, are about their requests.
FORBIDDEN = 8


@dataclass
class Asked:
    """One request and what it took so far. ``failures``: attempts that went wrong. ``waits``: attempts that
    the server was too busy for, or away. ``waiting_since``: the first of them since another outcome
    (monotonic). ``given_up``: attempts that were hung. ``wasted``: what was charged for attempts in vain.
    """

    request: Request
    failures: int = 0
    waits: int = 0
    waiting_since: float | None = None
    given_up: int = 0
    wasted: Usage = field(default_factory=Usage)
    slots: list[Slot] = field(default_factory=list)

    @property
    def spent(self) -> Usage | None:
        """What was charged for attempts in vain, or None if nothing was."""
        return self.wasted if self.wasted.requests else None


@dataclass
class _Post:
    """Writes a request when its turn comes, by what is known of the server then. ``url``: that of the first
    endpoint, at which ``write`` addresses it. ``body``: what was sent.
    """

    endpoint: Endpoint
    url: str
    write: Callable[[], tuple[str, Json]]
    body: Json = field(default_factory=dict)

    def __call__(self) -> tuple[str, Json]:
        address, self.body = self.write()
        return self.endpoint.own(address, self.url), self.body


class Asking:
    """The way to one model.

    ``answered``: has a server said anything but that it is away or busy? ``when_answered``: called then.
    """

    def __init__(
        self, options: OpenAIOptions, endpoints: Sequence[Endpoint], dialect: Dialect, spending: Spending
    ) -> None:
        self.endpoints = endpoints
        self.answered = False
        self.when_answered: Callable[[], None] = lambda: None
        self._options = options
        self._dialect = dialect
        self._spending = spending
        self._stopped: str | None = None
        self._turn = 0

    async def ask(self, asked: Asked, write: Callable[[], tuple[str, Json]], read: Callable[[Json], T]) -> T:
        """Return what ``read`` makes of the answer.

        ``write`` returns the address (at the first endpoint) and the body, for each attempt. ``read`` raises
        Trouble, or KeyError, IndexError, TypeError, ValueError or AttributeError, if it cannot read an
        answer. Raises EngineError if the request fails, ModelError if none can be answered.
        """

        def write_now() -> tuple[str, Json]:
            if self._stopped is not None:
                raise ModelError(self._stopped)
            return write()

        while True:
            endpoint = self._choose()
            post = _Post(endpoint, self._options.url, write_now)
            answer: Json | None = None
            try:
                answer, slot = await endpoint.post(post, asked.given_up)
                result = _read(read, answer)
            except Trouble as trouble:
                usage = trouble.charged if answer is None else answer.get("usage")
                if isinstance(usage, dict):
                    asked.wasted.add(self._spending.charged(asked.request, usage))
                pause = self._after(trouble, asked, endpoint, post.body)
            else:
                self._is_answered()
                asked.slots.append(slot)
                return result
            await asyncio.sleep(pause)

    def _is_answered(self) -> None:
        if not self.answered:
            self.answered = True
            self.when_answered()

    def _choose(self) -> Endpoint:
        """Return the endpoint with the most room; those that are away or closed for a while come last.

        One that is away is tried again every now and then, so that it is used when it is back.
        """
        self._turn += 1
        shifted = [*self.endpoints[self._turn % len(self.endpoints) :], *self.endpoints]
        return min(shifted, key=lambda each: (each.is_away(KNOCKING), each.limit.pause, each.limit.load))

    def _after(self, trouble: Trouble, asked: Asked, endpoint: Endpoint, body: Json) -> float:
        """Return the seconds to wait before the next attempt. Raises EngineError or ModelError if there is
        none."""
        try:
            learned = self._dialect.learn(trouble, body)
        except Trouble as stop:
            trouble, learned = stop, None
        if learned is not None:
            if learned:
                tell(f"{endpoint.place}: {learned}")
            return 0.0
        if trouble.kind == "stop" or self._holds_for_all(trouble, endpoint):
            self._stopped = (
                f"{endpoint.place}: {trouble.reason}. No more requests are sent: mend this, and the same "
                "command goes on"
            )
            raise ModelError(self._stopped)
        if trouble.kind in ("busy", "unreachable"):
            return self._wait(trouble, asked, endpoint)
        if trouble.kind == "refused":
            self._is_answered()
            raise self._error(asked, f"{endpoint.place}: {trouble.reason}", retryable=False)
        asked.waiting_since = None
        asked.failures += 1
        asked.given_up += trouble.hung
        if asked.failures >= self._options.attempts:
            tries = counted(self._options.attempts, "attempt")
            raise self._error(asked, f"{endpoint.place}: {trouble.reason} (after {tries})", retryable=True)
        # Who waited for a hung request has waited enough.
        return 0.0 if trouble.hung else pause_before(asked.failures, trouble.pause)

    def _wait(self, trouble: Trouble, asked: Asked, endpoint: Endpoint) -> float:
        """Return the pause before a server that is busy or away is asked again; EngineError after the
        patience."""
        away = trouble.kind == "unreachable"
        if away and any(each.down_since is None for each in self.endpoints):
            return 0.0  # another one is there
        now, patience = time.monotonic(), self._options.waits(reached=endpoint.reached or not away)
        asked.waits += 1
        asked.waiting_since = asked.waiting_since or now
        since = endpoint.down_since if away and endpoint.down_since is not None else asked.waiting_since
        left = since + patience - now
        what = f"cannot reach {endpoint.place}" if away else endpoint.place
        pause = pause_before(asked.waits, trouble.pause, longest=KNOCKING)
        if left <= 0:
            raise self._error(
                asked, f"{what}: {trouble.reason} (for {patience:,.0f} seconds)", retryable=True
            )
        if trouble.pause is not None and trouble.pause > left:
            raise self._error(
                asked,
                f"{what}: {trouble.reason} (it asks to wait for {trouble.pause:,.0f} seconds, beyond a "
                f"`patience` of {patience:,.0f})",
                retryable=True,
            )
        if away and endpoint.tell_away():
            tell(f"cannot reach {endpoint.place}: {trouble.reason}; trying again for {patience:,.0f} seconds")
        return min(pause, left)

    def _holds_for_all(self, trouble: Trouble, endpoint: Endpoint) -> bool:
        if trouble.status == 403 and endpoint.forbidden >= FORBIDDEN:
            return True
        return holds_for_all(trouble, self._options.model, answered=endpoint.answered)

    @staticmethod
    def _error(asked: Asked, reason: str, *, retryable: bool) -> EngineError:
        return EngineError(f"request {asked.request.id!r}: {reason}", retryable=retryable)


def _read(read: Callable[[Json], T], answer: Json) -> T:
    try:
        return read(answer)
    except ODD_FORM as error:
        raise Trouble("broken", not_a_completion(error, answer)) from None
