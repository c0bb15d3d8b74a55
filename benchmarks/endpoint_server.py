"""A server with the OpenAI API that answers late and errs as it is told: ERRORS (a share of 0 to 1).

Prints its port. An answer has as many tokens as its prompt decides (16 to 80), and comes after as long as
they take: 0.6 seconds on average. ERRORS of all exchanges go wrong, each fifth of them in another way:
status 429, status 500, garbage, a dropped connection, a request that is never answered. Which ones is
decided by the prompt and the number of times that it was asked, so each client meets the same.

`GET /counts` returns {"asked", "paid", "prompts"}: the exchanges, the right answers, also those that nobody
waited for, and the prompts that have one.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

MEAN_SECONDS = 0.6
FEWEST, MOST = 16, 80
FAULTS = ("busy", "error", "garbage", "drop", "hang")


class Server:
    """Answers each connection; see the module."""

    def __init__(self, errors: float) -> None:
        self.errors = errors
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. False if the connection is to be closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((line[15:] for line in head.split("\r\n") if line.startswith("content-length:")), "0")
        body = json.loads(await reader.readexactly(int(length)) or "{}")
        if head.startswith("get /counts"):
            _send(writer, 200, self._counts())
        elif head.startswith("get"):
            _send(writer, 200, {"data": []})
        else:
            return await self._answer(body, writer)
        await writer.drain()
        return True

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if not body["messages"]:  # Curator asks for the limits in this way
            limits = "x-ratelimit-limit-requests: 1000000\r\nx-ratelimit-limit-tokens: 1000000000\r\n"
            _send(writer, 200, _completion(body.get("model"), "", 0), limits)
            await writer.drain()
            return True
        prompt = body["messages"][-1]["content"]
        prompt = prompt if isinstance(prompt, str) else "".join(part["text"] for part in prompt)
        self.asked[prompt] += 1
        drawn = random.Random(f"{prompt} {self.asked[prompt]}").random()
        fault = FAULTS[int(drawn / self.errors * len(FAULTS))] if drawn < self.errors else None
        tokens = random.Random(prompt).randint(FEWEST, MOST)
        seconds = MEAN_SECONDS * tokens / ((FEWEST + MOST) / 2)
        if fault == "busy":
            _send(writer, 429, {"error": {"message": "slow down"}}, "retry-after: 1\r\n")
        elif fault == "error":
            _send(writer, 500, {"error": {"message": "something broke"}})
        elif fault == "hang":
            await asyncio.sleep(3600)
        else:
            await asyncio.sleep(seconds)
            if fault == "garbage":
                _send(writer, 200, "<html><title>Bad gateway</title></html>")
            elif fault is None:
                self.paid[prompt] += 1
                _send(writer, 200, _completion(body.get("model"), prompt, tokens))
        await writer.drain()
        return fault != "drop"

    def _counts(self) -> dict[str, int]:
        asked, paid = self.asked.total(), self.paid.total()
        return {"asked": asked, "paid": paid, "prompts": len(self.paid)}


def _completion(model: object, prompt: str, tokens: int) -> dict[str, Any]:
    text = " ".join(["word"] * tokens)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": tokens}
    usage["total_tokens"] = sum(usage.values())
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def _send(writer: asyncio.StreamWriter, status: int, said: object, headers: str = "") -> None:
    data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    kind = "text/html" if isinstance(said, str) else "application/json"
    head = f"HTTP/1.1 {status} Told\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n{headers}\r\n"
    writer.write(head.encode() + data)


def ideal_seconds(prompts: list[str], at_once: int) -> float:
    """Return the least time in which the server gives all answers, ``at_once`` together."""
    tokens = sum(random.Random(prompt).randint(FEWEST, MOST) for prompt in prompts)
    return tokens * MEAN_SECONDS / ((FEWEST + MOST) / 2) / at_once


async def main() -> None:
    server = await asyncio.start_server(Server(float(sys.argv[1])).connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
