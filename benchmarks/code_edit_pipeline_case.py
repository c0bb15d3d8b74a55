"""One side of the code-edit benchmark, in a separate process: ours|one CONFIG.

CONFIG is a JSON file: {"file", "model", "requests", "seconds", "seed"}. ``ours`` runs the pipeline in
``file`` and writes the requests of each step to ``requests``. ``one`` sends these one at a time to an engine
with the same settings, with alternating steps and requests drawn at random, for at most ``seconds``. Prints
one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.contracts.inference import Completion, EngineSettings, Request
from gristmill.pipelines.run import meter

Asked = dict[str, list[Request]]


def ours(config: dict[str, Any]) -> dict[str, Any]:
    import gristmill
    from gristmill.pipelines.run.events import Event, PartDone, StepDone, StepStarted

    asked: dict[tuple[float, ...], list[Request]] = defaultdict(list)
    generate = meter.Metered.generate

    async def noted(self: meter.Metered, requests: Sequence[Request]) -> list[Completion]:
        asked[shape(requests[0])] += requests
        return await generate(self, requests)

    class Clock:
        """The active interval of each step that asks the model."""

        def __init__(self) -> None:
            self.spans: dict[str, list[float]] = {}
            self.engines: list[dict[str, Any]] = []

        def on(self, event: Event) -> None:
            if isinstance(event, StepStarted) and event.step in config["asking"]:
                self.spans[event.step] = [event.at, event.at]
            elif isinstance(event, PartDone) and event.step in self.spans:
                self.spans[event.step][1] = event.at
            elif isinstance(event, StepDone):
                self.engines += event.engines

        def seconds(self) -> float:
            """The time in which at least one step was active; steps of a chain run concurrently."""
            total, until = 0.0, 0.0
            for start, end in sorted(self.spans.values()):
                total += max(0.0, end - max(start, until))
                until = max(until, end)
            return total

    clock = Clock()
    meter.Metered.generate = noted  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        run = gristmill.run(config["file"], Path(folder) / "run", observer=clock)
        usage = [run[name].store.usage() for name in config["asking"]]
        rows = {name: run[name].store.ledger().kept for name in config["asking"]}
    Path(config["requests"]).write_bytes(pickle.dumps(list(asked.values())))
    return {
        "seconds": clock.seconds(),
        "requests": sum(each.requests for each in usage),
        "tokens": sum(each.completion_tokens for each in usage),
        "rows": rows,
        "engines": clock.engines,
    }


def shape(request: Request) -> tuple[float, ...]:
    """The key that distinguishes requests of different steps: their decoding parameters."""
    return (request.sampling.max_tokens, request.sampling.temperature)


def one(config: dict[str, Any]) -> dict[str, Any]:
    from gristmill.pipelines.run.serving import start_here
    from gristmill.pipelines.weights import resolve

    groups: list[list[Request]] = pickle.loads(Path(config["requests"]).read_bytes())
    options = dict(config["model"])
    kind, path = options.pop("engine", "vllm"), options.pop("path", None)
    engine = start_here(EngineSettings(kind, resolve(path) if path else None, options))
    draw = random.Random(config["seed"])
    for requests in groups:
        draw.shuffle(requests)

    async def send() -> tuple[list[list[float]], int]:
        took: list[list[float]] = [[] for _ in groups]
        tokens = turn = 0
        await engine.generate([groups[0][-1]])  # warm
        end = time.monotonic() + config["seconds"]
        # Requests of all steps are sampled at the same rate, and each step at least once.
        while time.monotonic() < end or turn < len(groups):
            left = [number for number, requests in enumerate(groups) if len(took[number]) < len(requests)]
            if not left:
                break
            number = left[turn % len(left)]
            started = time.monotonic()
            (completion,) = await engine.generate([groups[number][len(took[number])]])
            took[number].append(time.monotonic() - started)
            tokens += len(completion.tokens)
            turn += 1
        await engine.close()
        return took, tokens

    took, tokens = asyncio.run(send())
    spent = sum(sum(each) for each in took)
    sent = sum(len(each) for each in took)
    # Estimated time of all requests: the mean time of each step times its number of requests.
    whole = sum(len(requests) * sum(each) / len(each) for requests, each in zip(groups, took, strict=True))
    return {"seconds": spent, "requests": sent, "tokens": tokens, "whole_seconds": whole}


def main() -> None:
    config = json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps({"ours": ours, "one": one}[sys.argv[1]](config)), flush=True)


if __name__ == "__main__":
    main()
