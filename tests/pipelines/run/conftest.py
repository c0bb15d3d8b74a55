"""A local Ray cluster, shared by the tests that need one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil
import pytest

#: Nodes and drivers authenticate with the user's token, as Ray requires by default.
TOKEN = os.environ | {"RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
RAY = str(Path(sys.executable).with_name("ray"))
#: Waits for nodes as no driver, for which Ray would start worker processes first.
WAIT = """
import socket, sys, time
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo

address, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        socket.create_connection(address.split(":"), timeout=5).close()
        nodes = GcsClient(address=address).get_all_node_info(timeout=5).values()
    except Exception as error:  # nothing listens yet
        print(error, file=sys.stderr)
        nodes = ()
    if sum(node.state == GcsNodeInfo.ALIVE for node in nodes) >= count:
        sys.exit()
    time.sleep(0.1)
sys.exit(1)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Cluster:
    """Ray nodes as local processes."""

    address: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a node; it has joined the cluster when its raylet answers."""
        node = subprocess.Popen(
            [RAY, "start", "--block", "--disable-usage-stats", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=TOKEN,
        )
        self.nodes.append(node)
        return node

    def head(self) -> None:
        """Start the head node, with two logical cores:
        each one is a process that every new driver waits for.
        """
        _make_token()
        host, port = self.address.split(":")
        self.start(
            "--head",
            f"--port={port}",
            "--num-cpus=2",
            "--include-dashboard=false",
            f"--node-ip-address={host}",
        )
        self.wait_for_nodes(1)

    def wait_for_nodes(self, count: int, seconds: float = 300) -> None:
        """Wait until ``count`` nodes answer. Raises TimeoutError."""
        command = [sys.executable, "-P", "-c", WAIT, self.address, str(count), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, env=TOKEN, check=False)
        if done.returncode:
            said = f"the Ray cluster at {self.address} did not reach {count} nodes in {seconds} s"
            raise TimeoutError(f"{said}: {done.stderr[-2000:]}")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Lose a node at once: its raylet, its workers and their actors."""
        kill_tree(node)

    def stop(self) -> None:
        for node in reversed(self.nodes):
            kill_tree(node)


@cache
def _make_token() -> None:
    """Make the user's token where there is none yet, as on a fresh machine."""
    subprocess.run([RAY, "get-auth-token", "--generate"], check=True, capture_output=True)


def kill_tree(node: subprocess.Popen[bytes]) -> None:
    """SIGKILL a node's process and all its children."""
    try:
        tree = psutil.Process(node.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    for process in [*tree, psutil.Process(node.pid)] if node.poll() is None else tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    node.wait(300)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a single-node cluster that all tests share."""
    shared = Cluster(f"127.0.0.1:{free_port()}")
    try:
        shared.head()
        yield shared.address
    finally:
        shared.stop()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster whose nodes a test may kill."""
    own = Cluster(f"127.0.0.1:{free_port()}")
    try:
        own.head()
        yield own
    finally:
        own.stop()
