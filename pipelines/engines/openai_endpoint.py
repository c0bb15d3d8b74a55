"""One address of a server: its connections, the load that it bears, and how long it usually takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ...contracts.addresses import shown_address
from .concurrency import AdaptiveLimit
from .hung_requests import HungRequests
from .openai_trouble import Trouble, connection_trouble, read

Json = dict[str, Any]
#: When an exchange was in flight: monotonic seconds.
Slot = tuple[float, float]


class Endpoint:
    """Posts to one address, with one key. ``down_since``: when it could not be reached for the first time
    since its last response (monotonic). ``reached``: has it ever responded, with an error perhaps?
    ``answered``: has it ever given an answer?
    """

    def __init__(self, url: str, key: str | None, *, concurrency: int, timeout: float) -> None:
        self.url = url
        self.place = shown_address(url)
        self.limit = AdaptiveLimit(concurrency)
        self.down_since: float | None = None
        self.reached = self.answered = False
        self.forbidden = 0  # refusals with status 403 since the last answer
        self._failed_at = 0.0  # when it could not be reached for the last time
        self._away_told: float | None = None
        self._key = key
        self._concurrency = concurrency
        self._timeout = timeout
        self._hung = HungRequests(timeout)
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    def own(self, address: str, url: str) -> str:
        """Return the address here that corresponds to ``address`` at the server ``url``."""
        if address.startswith(url):
            return self.url + address.removeprefix(url)
        return self.url.removesuffix("/v1") + address.removeprefix(url.removesuffix("/v1"))

    def is_away(self, knocking: float) -> bool:
        """Could it not be reached within the last ``knocking`` seconds?"""
        return self.down_since is not None and time.monotonic() - self._failed_at < knocking

    def tell_away(self) -> bool:
        """Is it to be told that the server is away? Once for each time."""
        told, self._away_told = self._away_told, self.down_since
        return told != self.down_since

    async def post(self, write: Callable[[], tuple[str, Json]], given_up: int = 0) -> tuple[Json, Slot]:
        """Make one exchange. ``write`` returns the address and the body, when there is room for the request.
        ``given_up``: how often it was given up before. Raises Trouble.
        """
        async with self.limit:
            began = time.monotonic()
            address, body = write()
            try:
                answer = await self._send(address, body, given_up)
                said = read(answer)
            except Trouble as trouble:
                self._note(trouble)
                raise
            ended = time.monotonic()
            self._note_answer(ended - began, said)
            return said, (began, ended)

    async def close(self) -> None:
        """Close the connections; if requests are in flight, after the last of them."""
        self._closing = True
        await self._close_unused()

    async def _send(self, address: str, body: Json, given_up: int) -> Any:
        import httpx

        client = self._connect()
        began = time.monotonic()
        tokens = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        try:
            async with self._hung.watched(tokens, given_up):
                return await client.post(address, json=body)
        except TimeoutError:
            taken = time.monotonic() - began
            raise Trouble("broken", f"no answer in {taken:,.1f} seconds", hung=True) from None
        except httpx.RequestError as error:
            raise connection_trouble(error) from None
        finally:
            await self._close_unused()

    def _note_answer(self, seconds: float, said: Json) -> None:
        self.reached = self.answered = True
        self.down_since, self.forbidden = None, 0
        usage = said.get("usage")
        counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
        tokens = counted if isinstance(counted, int) and counted > 0 else 1
        self.limit.answered(seconds, tokens)
        self._hung.answered(seconds, tokens)

    def _note(self, trouble: Trouble) -> None:
        if trouble.kind == "unreachable":
            self._failed_at = time.monotonic()
            self.down_since = self.down_since or self._failed_at
            return
        self.reached, self.down_since = True, None
        if trouble.kind == "busy":
            self.limit.refused(trouble.pause)
        if trouble.status == 403:
            self.forbidden += 1

    def _connect(self) -> Any:
        """Return the client of this event loop: connections cannot be shared between loops."""
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._client = httpx.AsyncClient(
                headers=headers,
                # Certificates take long to load, and only an address with TLS has one.
                verify=not self.url.startswith("http:"),
                timeout=httpx.Timeout(self._timeout, connect=min(30.0, self._timeout)),
                limits=httpx.Limits(
                    max_connections=self._concurrency, max_keepalive_connections=self._concurrency
                ),
            )
            self._loop, self._closing = loop, False
        return self._client

    async def _close_unused(self) -> None:
        if not self._closing or self._hung.in_flight or self._client is None:
            return
        client, self._client = self._client, None
        if self._loop is asyncio.get_running_loop():
            await client.aclose()
