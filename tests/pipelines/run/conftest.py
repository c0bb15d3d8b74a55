"""A Ray cluster of this machine's own, shared by the tests that need one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Cluster:
    """Ray nodes as processes of this machine."""

    address: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a node; it is in the cluster when its raylet answers."""
        node = subprocess.Popen(
            [RAY, "start", "--block", "--disable-usage-stats", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        for node in reversed(self.nodes):
            kill_tree(node)


def kill_tree(node: subprocess.Popen[bytes]) -> None:
    """SIGKILL a node's process and all that it started."""
    try:
        tree = psutil.Process(node.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    for process in [*tree, psutil.Process(node.pid)] if node.poll() is None else tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    node.wait(30)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a running head node with four logical cores."""
    port = free_port()
    made = Cluster(f"127.0.0.1:{port}")
    made.start(
        "--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false", "--node-ip-address=127.0.0.1"
    )
    wait_for(port)
    yield made.address
    made.stop()


def wait_for(port: int, seconds: float = 60) -> None:
    """Wait until the head node answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(2)  # the port opens a little before the node is registered
                return
        time.sleep(0.2)
    raise TimeoutError(f"no Ray head node at port {port} after {seconds} s")
