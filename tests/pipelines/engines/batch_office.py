"""A real local server that speaks OpenAI's batch API and counts what is paid, and engines that ask it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request
from gristmill.pipelines.engines.openai_batch import BatchEngine

from .conftest import ask, serve

Json = dict[str, Any]


class Office:
    """Takes batches, and completes each after ``looks`` looks at it. ``paid``: prompts that it answered."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.batches: list[Json] = []
        self.paid: Counter[str] = Counter()
        self.looks = 1
        self.answers: dict[str, list[tuple[int, Json]]] = {}
        self.refusal: tuple[int, Json] | None = None
        self.lose_answer_to_batch = False
        self.odd: set[str] = set()  # files and batches whose making is answered with an object without an id
        self.hide_status = False
        self.expires = False
        self.results: str | None = None
        self.reply: Callable[[Json], tuple[int, Json]] | None = None
        self.mangled: dict[str, Callable[[str], str]] = {}  # what becomes of the line that answers a prompt
        self._lock = threading.Lock()
        office = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(*office.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, said = office.post(self.path, self.headers["content-type"], body)
                if status == 0:
                    self.close_connection = True  # the answer is lost
                else:
                    self._say(status, said)

            def _say(self, status: int, said: Any) -> None:
                data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                return None

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda request, client: None  # type: ignore[method-assign]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def get(self, path: str) -> tuple[int, Any]:
        where = urlsplit(path)
        parts = where.path.split("/")[2:]
        with self._lock:
            if parts[0] == "files":
                return 200, self.files[parts[1]]
            if len(parts) == 1:
                newest = self.batches[::-1]
                after = parse_qs(where.query).get("after")
                start = 1 + [batch["id"] for batch in newest].index(after[0]) if after else 0
                page = newest[start : start + 2]  # pages of two
                return 200, {"data": page, "has_more": start + 2 < len(newest)}
            batch = next(batch for batch in self.batches if batch["id"] == parts[1])
            batch["looks"] += 1
            if batch["looks"] > self.looks and batch["status"] == "in_progress":
                self._complete(batch)
            return 200, {name: batch[name] for name in batch if not (self.hide_status and name == "status")}

    def post(self, path: str, kind: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            if self.refusal is not None:
                return self.refusal
            if path.endswith("/files"):
                message = BytesParser().parsebytes(f"content-type: {kind}\r\n\r\n".encode() + body)
                parts: Sequence[Any] = message.get_payload()  # type: ignore[assignment]
                text = next(part.get_payload() for part in parts if part.get_filename())
                name = f"file-{len(self.files)}"
                self.files[name] = text
                return 200, {} if name in self.odd else {"id": name}
            batch = {"id": f"batch-{len(self.batches)}", "status": "in_progress", "looks": 0}
            self.batches.append(batch | json.loads(body))
            if self.lose_answer_to_batch:
                self.lose_answer_to_batch = False
                return 0, None
            return 200, {} if batch["id"] in self.odd else self.batches[-1]

    def finish(self) -> None:
        """Complete the batches that nobody looks at any more: they are paid for all the same."""
        with self._lock:
            for batch in self.batches:
                if batch["status"] == "in_progress":
                    self._complete(batch)

    def _complete(self, batch: Json) -> None:
        if self.expires:
            batch["status"] = "expired"
            return
        lines = []
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            prompt = asked["body"]["messages"][-1]["content"]
            self.paid[prompt] += 1
            status, said = 200, completion(f"you said {prompt}")
            if self.reply is not None:
                status, said = self.reply(asked["body"])
            if self.answers.get(prompt):
                status, said = self.answers[prompt].pop(0)
            response = {"status_code": status, "body": said}
            told = {"custom_id": asked["custom_id"], "response": response, "error": None}
            text = json.dumps(told, ensure_ascii=False)
            lines.append(self.mangled.get(prompt, str)(text))
        batch["status"] = "completed"
        batch["output_file_id"] = f"results-{batch['id']}"
        self.files[batch["output_file_id"]] = self.results or "\n".join(lines)


def completion(text: str, finish: str = "stop") -> Json:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": usage}


def connect(office: Office, **options: Any) -> BatchEngine:
    engine = serve("openai", None, url=office.url, model="m", mode="batch", poll=0.02, **options)
    assert isinstance(engine, BatchEngine)
    return engine


def calls(
    engine: BatchEngine, *requests: Sequence[Request], within: float = 300
) -> list[Completion | EngineError]:
    """The answers of several calls made together. ``within``: seconds until a hang is an error."""

    async def together() -> list[Completion | EngineError]:
        try:
            done = await asyncio.gather(*(engine.generate(each) for each in requests))
            return [answer for answers in done for answer in answers]
        finally:
            await engine.close()

    return asyncio.run(asyncio.wait_for(together(), within))


def texts(answers: Sequence[Completion | EngineError]) -> list[str]:
    return [answer.text if isinstance(answer, Completion) else str(answer) for answer in answers]


def some(*numbers: int) -> list[Request]:
    return [ask(f"t{number}", number) for number in numbers]
