"""Hugging Face ids: the real hub client with a small local server of the hub's API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from gristmill.contracts.errors import ModelError
from gristmill.pipelines.weights import digest, exists, hub

COMMIT = "c" * 40
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": save({"weight": np.arange(50_000, dtype=np.float32)}),
    "onnx/model.onnx": b"not wanted",
    "pytorch_model.bin": b"not wanted",
}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's API for one public repository, ``someone/tiny``, and a gated one."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/someone/tiny/revision/"):
            if path.rpartition("/")[2] not in ("main", COMMIT):
                return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
            siblings = [{"rfilename": name} for name in FILES]
            info = {"id": "someone/tiny", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
            return self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        if path.startswith("/api/models/someone/tiny/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            return self.send(200, json.dumps(entries).encode(), {"Content-Type": "application/json"}, body)
        if path.startswith("/api/models/someone/gated/"):
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
        if path.startswith("/someone/tiny/resolve/"):
            data = FILES[path.split("/", 5)[5]]
            headers = {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return self.send(200, data, headers, body)
        return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)

    def send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def pull(reference: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``gristmill models pull`` in a separate process: the hub library reads its settings at import."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    command = Path(sys.executable).with_name("gristmill")
    return subprocess.run(
        [command, "models", "pull", reference],
        env={**kept, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_hub_model_is_pulled_and_named_by_its_commit(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert not exists("someone/tiny")
    assert digest("someone/tiny") == "hub:someone/tiny@main"

    done = pull("someone/tiny", tmp_path, HF_ENDPOINT=server)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert (path / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (path / "onnx").exists()
    assert not (path / "pytorch_model.bin").exists()
    assert "downloading" in done.stderr

    assert exists("someone/tiny")
    assert digest("someone/tiny") == f"hub:someone/tiny@{COMMIT}" == digest(f"someone/tiny@{COMMIT}")
    assert pull("someone/tiny", tmp_path, HF_HUB_OFFLINE="1").stdout == done.stdout


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("someone/tiny@nowhere", "has no branch, tag or commit 'nowhere'"),
        ("someone/absent", "the hub has no model someone/absent"),
        ("someone/gated", "asks for its terms to be accepted: do so on its page, then set HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_is_one_clear_line(
    server: str, tmp_path: Path, reference: str, said: str
) -> None:
    done = pull(reference, tmp_path, HF_ENDPOINT=server)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_offline_and_missing_says_what_to_do(tmp_path: Path) -> None:
    done = pull("someone/tiny", tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "gristmill models pull someone/tiny" in done.stderr
    assert "smollm2-135m-instruct" in done.stderr


def test_an_unreachable_hub_says_what_to_do(tmp_path: Path) -> None:
    done = pull("someone/tiny", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "the hub cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("reference", ["one", "a/b/c", "a/b@../../x", "a b/c", "/a/b", "a/b@"])
def test_what_is_no_hub_id(reference: str) -> None:
    assert hub.HubId.parse(reference) is None


def test_a_hub_id_with_a_revision() -> None:
    assert hub.HubId.parse("a/b@v1/x") == hub.HubId("a/b", "v1/x")
    assert str(hub.HubId.parse("a/b")) == "a/b@main"


def test_a_deep_path_that_is_not_there_is_our_error() -> None:
    with pytest.raises(ModelError, match="looks like a path"):
        digest("a/b/c")
