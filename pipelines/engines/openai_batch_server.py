"""Calls of OpenAI's batch API: files of requests, batches of them, files of results."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...contracts.addresses import shown_address
from ...contracts.errors import ModelError
from .backoff import pause_before
from .openai_options import OpenAIOptions
from .openai_trouble import Trouble, connection_trouble, not_a_completion, read, response_trouble

Json = dict[str, Any]
T = TypeVar("T")
#: The name of a line's request (None: it does not tell) and the line (None: it cannot be read).
Line = tuple[str | None, Json | None]
#: Finds the name in a line that is no JSON; within the texts of a line, quotes are escaped.
_NAME = re.compile(r'"custom_id"\s*:\s*"([^"\\]+)"')
#: Marks the batches that this program made, among others of the same account.
MARK = "gristmill"


class BatchServer:
    """One server. Each call is repeated, within the patience, if it goes wrong."""

    def __init__(self, options: OpenAIOptions, key: str | None) -> None:
        self.place = shown_address(options.url)
        self._url = options.url
        self._key = key
        self._timeout = options.timeout
        self._options, self._reached = options, False
        self._client: Any = None

    async def known(self, model: str) -> dict[str, str]:
        """Return the batch of each request that an earlier run sent, by the request's name.

        Requests of batches that failed are left out.
        """
        found: dict[str, str] = {}
        for batch in await self._batches():
            marked = batch.get("metadata") or {}
            if marked.get(MARK) != model or batch["status"] in ("failed", "cancelled", "cancelling"):
                continue
            try:
                lines = _lines(await self._text(f"/files/{batch['input_file_id']}/content"))
            except ModelError:
                continue  # the file was deleted
            for name, _ in lines:
                if name is not None:
                    found.setdefault(name, batch["id"])
        return found

    async def create(self, model: str, path: str, bodies: Mapping[str, Json]) -> str:
        """Send requests as a batch. Returns its id. Raises ModelError if the server takes none."""
        lines = (
            json.dumps({"custom_id": name, "method": "POST", "url": f"/v1{path}", "body": body})
            for name, body in bodies.items()
        )
        files = {"file": ("requests.jsonl", "\n".join(lines).encode(), "application/jsonl")}
        file = await self._json("POST", "/files", files=files, data={"purpose": "batch"})
        asked = {
            "input_file_id": file["id"],
            "endpoint": f"/v1{path}",
            "completion_window": "24h",
            "metadata": {MARK: model},
        }

        async def post() -> Json:
            return await self._once("POST", "/batches", _made, json=asked)

        async def made() -> Json | None:
            """The batch, if it was made although the answer was lost: it must not be paid twice."""
            batches = await self._batches()
            return next((each for each in batches if each.get("input_file_id") == file["id"]), None)

        batch = await self._repeated(post, instead=made)
        return str(batch["id"])

    async def state(self, batch: str) -> Json:
        """Return the record of a batch."""
        return await self._json("GET", f"/batches/{batch}")

    async def results(self, state: Json) -> list[Line]:
        """Return the lines of a batch that is over: answers and errors."""
        files = [state.get("output_file_id"), state.get("error_file_id")]
        return [line for file in files if file for line in _lines(await self._text(f"/files/{file}/content"))]

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _batches(self) -> list[Json]:
        """Return the records of all batches of the account, the latest first."""
        found: list[Json] = []
        after: dict[str, str] = {}
        while True:
            page = await self._json("GET", "/batches", params={"limit": "100", **after})
            found += page["data"]
            if not page.get("has_more") or not page["data"]:
                return found
            after = {"after": page["data"][-1]["id"]}

    async def _json(self, method: str, path: str, **options: Any) -> Json:
        found: Json = await self._repeated(lambda: self._once(method, path, read, **options))
        return found

    async def _text(self, path: str) -> str:
        found: str = await self._repeated(lambda: self._once("GET", path, _text))
        return found

    async def _once(self, method: str, path: str, take: Callable[[Any], T], **options: Any) -> T:
        import httpx

        if self._client is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            verify = not self._url.startswith("http:")
            self._client = httpx.AsyncClient(headers=headers, timeout=self._timeout, verify=verify)
        try:
            return take(await self._client.request(method, f"{self._url}{path}", **options))
        except httpx.RequestError as error:
            raise connection_trouble(error) from None

    async def _repeated(self, call: Any, instead: Any = None) -> Any:
        """Return what ``call`` returns, or after a call that went wrong what ``instead`` does, unless None.

        Raises ModelError if the server refuses it, or goes on to be away after the patience.
        """
        began, attempt = time.monotonic(), 0
        while True:
            try:
                found = await call()
                self._reached = True
                return found
            except Trouble as trouble:
                self._reached |= trouble.kind != "unreachable"
                until = began + self._options.waits(reached=self._reached)
                attempt += 1
                what = "cannot reach " if trouble.kind == "unreachable" else ""
                left = until - time.monotonic()
                if trouble.kind in ("stop", "refused") or left <= 0:
                    raise ModelError(f"{what}{self.place}: {trouble.reason}") from None
                pause = pause_before(attempt, trouble.pause, longest=10.0)
            await asyncio.sleep(min(pause, left))
            if instead is not None and (found := await instead()) is not None:
                return found


def _made(answer: Any) -> Json:
    """Return the record of what was made. Raises Trouble if it does not tell its id."""
    record = read(answer)
    if record.get("id") is None:
        raise Trouble("broken", not_a_completion(KeyError("id"), record))
    return record


def _text(answer: Any) -> str:
    if answer.status_code != 200:
        raise response_trouble(answer)
    return str(answer.text)


def _lines(text: str) -> list[Line]:
    # A text in a line may hold other characters that Unicode counts as ends of lines.
    return [_line(line) for line in text.split("\n") if line.strip()]


def _line(text: str) -> Line:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, dict) and isinstance(line.get("custom_id"), str):
        return line["custom_id"], line
    name = _NAME.search(text)
    return (name[1] if name else None), None
