"""A real HTTP server on this machine that stands for the endpoint of a model."""

from __future__ import annotations

import json
import math
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Status, headers, and the body: bytes as they are, anything else as JSON.
Reply = tuple[int, dict[str, str], object]


class Server:
    """Answers with ``reply(number of the post, its JSON)``.

    ``seen``: path, headers (with names in small letters) and JSON of each post so far, by its number.
    ``most_at_once``: the most posts that waited for their replies at one time. ``url``: with its ``/v1``.
    ``port``: by default one that is free.
    """

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], port: int = 0) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    number = len(server.seen)
                    server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                try:
                    status, headers, said = reply(number, body)
                except Exception:
                    # A request that is refused is not sent again, and the test's output says why.
                    status, headers, said = 400, {}, {"error": {"message": traceback.format_exc()}}
                with server._lock:
                    server._at_once -= 1
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                return None

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of this machine at which only a :class:`Server` can listen: no other program is given it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port


#: A teacher's answer to (a prompt, the request's seed): a text, a text and its one token's log-probability,
#: or the probabilities of the first token, of which it writes the likeliest.
Say = Callable[[Any, int], str | tuple[str, float] | dict[str, float]]


@dataclass
class Teacher:
    """Replies to chats as ``say`` says, one at a time.

    ``talk``: ``say`` gets all the messages in place of the prompt, which is the last turn. ``prompts``: what
    it was asked so far, the last turn of each request. ``url``: its address, once it is served.
    """

    say: Say
    talk: bool = False
    url: str = ""
    prompts: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, number: int, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.prompts.append(prompt)
            told = self.say(body["messages"] if self.talk else prompt, body.get("seed", 0))
        shares = told if isinstance(told, dict) else {}
        if isinstance(told, dict):
            told = max(told.items(), key=lambda item: item[1])
        text, logprob = told if isinstance(told, tuple) else (told, None)
        choice: dict[str, Any] = {"finish_reason": "stop", "message": {"content": text}}
        if logprob is not None:
            likeliest = [{"token": token, "logprob": math.log(p)} for token, p in shares.items()]
            choice["logprobs"] = {"content": [{"logprob": logprob, "top_logprobs": likeliest}]}
        return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
