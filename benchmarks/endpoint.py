"""Clients of an endpoint that errs: ours, distilabel's and Bespoke Curator's, on the same local server.

1,600 requests, at most 64 at once, to a server that answers after 0.6 seconds on average and of which no, 3 %
or 12 % of the exchanges go wrong (endpoint_server.py says how). Each client has its defaults otherwise.
Measured: the share of the ideal time (what the server needs for the answers alone, over the time it took),
the answers that the server gave over those that were needed, and the prompts that ended without one. A client
that is not done after 150 seconds, ten times the ideal, is stopped, and not run again with as many errors.

    python benchmarks/endpoint.py [--quick] [--rounds 3] [--clients ours,distilabel,curator]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endpoint_case import prompts
from endpoint_server import ideal_seconds
from measuring import Figure, median, run_case, this_python, versions, write

HERE = Path(__file__).parent
PEERS = HERE / ".peers/endpoint/bin/python"
AT_ONCE = 64
#: Share of exchanges that go wrong -> the share of the ideal time that is aimed at.
AIMS = {0.0: 0.9, 0.03: 0.8, 0.12: 0.6}
PAID_AIM = 1.02
#: Seconds that a client gets.
LIMIT = 150
PEER_PACKAGES = {"distilabel": "distilabel", "curator": "bespokelabs-curator"}


@contextmanager
def served(errors: float) -> Iterator[str]:
    """Run the server, and yield its address."""
    command = this_python(str(HERE / "endpoint_server.py"), str(errors))
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


def measure(client: str, errors: float, count: int) -> dict[str, float]:
    """Return {"share", "paid", "lost", "seconds", "asked"} of one client. ``lost`` is that of the server, and
    ``seconds`` the limit, if it was stopped."""
    python = sys.executable if client == "ours" else str(PEERS)
    with served(errors) as address:
        arguments = [client, f"{address}/v1", str(count), str(AT_ONCE)]
        try:
            answer = run_case([python, str(HERE / "endpoint_case.py"), *arguments], timeout=LIMIT).answer
        except RuntimeError as error:
            print(f"{client} is not done after {LIMIT} seconds, or failed: {str(error)[-500:]}", flush=True)
            answer = {"seconds": LIMIT, "answered": None}
        with urllib.request.urlopen(f"{address}/counts") as said:
            counts = json.load(said)
    answered = counts["prompts"] if answer["answered"] is None else answer["answered"]
    return {
        "share": ideal_seconds(prompts(count), AT_ONCE) / float(answer["seconds"]),
        "paid": counts["paid"] / count,
        "lost": count - answered,
        "seconds": float(answer["seconds"]),
        "asked": counts["asked"],
    }


def peer_versions(clients: list[str]) -> dict[str, str]:
    """Return the version of each peer in its environment."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    names = [PEER_PACKAGES[client] for client in clients]
    if not names:
        return {}
    said = subprocess.run([PEERS, "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(zip(clients, said.stdout.split(), strict=True))


Found = dict[tuple[str, float], list[dict[str, float]]]


def figures(found: Found, of_peers: dict[str, str]) -> list[Figure]:
    """Return the figures of ours beside each peer's."""

    def middle(client: str, errors: float, what: str) -> float:
        return round(median([each[what] for each in found[client, errors]]), 4)

    made = []
    for errors, aim in AIMS.items():
        for peer, version in (of_peers or {"ideal": ""}).items():
            for what, unit, wanted in (("share", "of ideal", aim), ("paid", "x needed", PAID_AIM)):
                own = middle("ours", errors, what)
                theirs = middle(peer, errors, what) if of_peers else 1.0
                ratio = own / theirs if what == "share" else theirs / own
                name = f"{'time' if what == 'share' else 'answers paid'} at {errors:.0%} errors"
                told = f"{'>=' if what == 'share' else '<='} {wanted}"
                made.append(Figure(name, unit, own, theirs, peer, version, round(ratio, 3), told))
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round of 400 requests: does it work?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", default="ours,distilabel,curator")
    given = parser.parse_args()
    clients = given.clients.split(",")
    peers = [client for client in clients if client != "ours"]
    if peers and not PEERS.exists():
        raise SystemExit(
            "the clients' environment is missing; make it with: make benchmarks/.peers/endpoint/.installed"
        )
    count, rounds = (400, 1) if given.quick else (1600, given.rounds)
    found: Found = {}
    for number in range(rounds):
        for errors in AIMS:
            for client in clients:
                so_far = found.setdefault((client, errors), [])
                if client != "ours" and any(case["seconds"] >= LIMIT for case in so_far):
                    continue
                case = measure(client, errors, count)
                so_far.append(case)
                told = ", ".join(f"{name} {value:.3f}" for name, value in case.items())
                print(f"round {number + 1}, {errors:.0%} errors, {client}: {told}", flush=True)
    of_peers = peer_versions(peers)
    all_cases: dict[str, Any] = {
        f"{client} at {errors:.0%} errors": cases for (client, errors), cases in found.items()
    }
    table = figures(found, of_peers)
    if given.quick:
        for figure in table:
            print(figure)
        return
    write("endpoint", table, {**versions("httpx"), **of_peers}, {"requests": count, "cases": all_cases})


if __name__ == "__main__":
    main()
