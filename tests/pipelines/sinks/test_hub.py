"""Pushing to the Hub: requests to a server with the Hub's protocol, and errors without one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks import HubExport

ROWS = pa.table({"_id": ["r0", "r1"], "prompt": ["q0", "q1"], "response": ["a0", "a1"]})
TOKEN = "hf_not_a_real_token"


class Hub(ThreadingHTTPServer):
    """The part of the Hub's HTTP protocol that a push of small files needs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, str, bytes, str | None]] = []
        self.files: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def _answer(self, body: bytes = b"") -> None:
        self.server.calls.append((self.command, self.path, body, self.headers.get("Authorization")))
        answer: Any = {}
        if self.path.endswith("/repos/create"):
            answer = {"url": f"{self.server.url}/datasets/me/tiny", "name": "me/tiny"}
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {
                "files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            }
        elif "/commit/" in self.path:
            commit = f"{self.server.url}/datasets/me/tiny/commit/0"
            answer = {"success": True, "commitUrl": commit, "commitOid": "0" * 40, "hookOutput": ""}
        elif "/tree/" in self.path:
            answer = [{"type": "file", "path": f, "size": 1, "oid": "0" * 40} for f in self.server.files]
        elif "/revision/" in self.path or self.path.endswith("/api/datasets/me/tiny"):
            answer = {"id": "me/tiny", "sha": "0" * 40, "siblings": []}
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_push_makes_the_repository_and_commits_both_files(hub: Hub, tmp_path: Path, context: Any) -> None:
    written = HubExport(repo="me/tiny", format="messages").write(ROWS, context, tmp_path / "copy")
    assert written.location == f"{hub.url}/datasets/me/tiny"
    made = next(json.loads(body) for _, path, body, _ in hub.calls if path.endswith("/repos/create"))
    assert (made["name"], made["organization"], made["type"]) == ("tiny", "me", "dataset")
    assert made.get("private", made.get("visibility") == "private") is True
    commit = next(body for _, path, body, _ in hub.calls if path.endswith("/datasets/me/tiny/commit/main"))
    files = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in map(json.loads, commit.splitlines())
        if line["key"] == "file"
    }
    assert set(files) == {"README.md", "data/train-00000-of-00001.parquet"}
    assert files["README.md"] == (tmp_path / "copy/README.md").read_bytes()
    assert files["data/train-00000-of-00001.parquet"][:4] == b"PAR1"
    assert {auth for method, *_, auth in hub.calls if method == "POST"} == {f"Bearer {TOKEN}"}


def test_a_push_removes_the_files_of_an_earlier_one_in_the_same_commit(
    hub: Hub, tmp_path: Path, context: Any
) -> None:
    shards = [f"data/train-0000{number}-of-00003.parquet" for number in range(3)]
    others = ["data/test-00000-of-00001.parquet", "data/train-more.parquet", "data/train.jsonl", "a/b.txt"]
    hub.files = [".gitattributes", "README.md", *shards, *others, "data/train-00000-of-00001.parquet"]
    HubExport(repo="me/tiny").write(ROWS, context, tmp_path / "copy")
    [commit] = [body for _, path, body, _ in hub.calls if "/commit/" in path]
    told = [(line["key"], line["value"].get("path")) for line in map(json.loads, commit.splitlines())]
    assert [path for key, path in told if key == "deletedFile"] == shards
    assert {path for key, path in told if key == "file"} == {"README.md", "data/train-00000-of-00001.parquet"}


def test_the_token_is_not_in_what_is_pushed_or_kept(hub: Hub, tmp_path: Path, context: Any) -> None:
    HubExport(repo="me/tiny").write(ROWS, context, tmp_path / "copy")
    assert all(TOKEN.encode() not in body for *_, body, _ in hub.calls)
    assert all(TOKEN.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_without_a_token_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: Any
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(DataError, match="HF_TOKEN is not set"):
        HubExport(repo="me/tiny").write(ROWS, context, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_offline_keeps_the_rows_and_hides_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: Any
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot be reached") as caught:
        HubExport(repo="me/tiny").write(ROWS, context, tmp_path / "copy")
    assert TOKEN not in str(caught.value)
    assert (tmp_path / "copy/README.md").is_file()
