"""A teacher that says what a test tells it to, behind a real HTTP server that speaks the OpenAI API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Teacher:
    """``url``: its address. ``prompts``: what it was asked so far, the last turn of each request."""

    url: str
    prompts: list[str] = field(default_factory=list)


@pytest.fixture
def teach() -> Iterator[Callable[[Callable[[str], str]], Teacher]]:
    """Start a teacher that answers each prompt as a function of its text says. Calls come one at a time."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answer: Callable[[str], str]) -> Teacher:
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = body["messages"][-1]["content"]
                with lock:
                    teacher.prompts.append(prompt)
                    text = answer(prompt)
                data = json.dumps(
                    {
                        "choices": [{"finish_reason": "stop", "message": {"content": text}}],
                        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
                    }
                ).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                return None

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        servers.append((http, thread))
        teacher = Teacher(f"http://127.0.0.1:{http.server_address[1]}/v1")
        return teacher

    yield start
    for http, thread in servers:
        http.shutdown()
        http.server_close()
        thread.join()
