"""A teacher that answers as a test says, behind a real HTTP server: whole recipes run through it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.view.silent import SilentView

#: What the teacher says to (a prompt, the request's seed).
Say = Callable[[str, int], str]
Recipe = Callable[..., Run]


def _server(say: Say) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = say(body["messages"][-1]["content"], body.get("seed", 0))
            choice = {"message": {"content": answer}, "finish_reason": "stop"}
            said = {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
            data = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            return None

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """Runs a packaged recipe: ``recipe(name, say, vars, until=None, **files)``, ``files`` being JSONL rows for a variable."""
    servers: list[ThreadingHTTPServer] = []
    monkeypatch.chdir(tmp_path)

    def run(
        name: str,
        say: Say,
        variables: dict[str, Any],
        until: str | None = None,
        **files: list[dict[str, Any]],
    ) -> Run:
        server = _server(say)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for key, rows in files.items():
            path = tmp_path / f"{key}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            variables = {**variables, key: str(path)}
        teacher = {
            "engine": "openai",
            "url": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "model": "said",
        }
        overrides = [f"models.teacher={json.dumps(teacher)}"]
        overrides += [f"vars.{key}={json.dumps(value)}" for key, value in variables.items()]
        return gristmill.run(
            name, tmp_path / "run", overrides=overrides, until=until, observer=SilentView(sys.stderr)
        )

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The rows that a step of the last run exported as JSONL."""

    def read(step: str) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for file in sorted((tmp_path / "run" / "exports").glob(f"{step}*/**/*.jsonl"))
            + sorted((tmp_path / "run" / "exports").glob(f"{step}.jsonl"))
            for line in file.read_text().splitlines()
        ]

    return read
