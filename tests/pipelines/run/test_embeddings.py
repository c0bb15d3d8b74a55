"""A run embeds each text once per model, over steps, sessions and edits; a small real server embeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.contracts.inference import EMBED_CHUNK
from gristmill.pipelines.api import open_run
from gristmill.pipelines.file.load import load
from gristmill.pipelines.plan.estimate import estimate
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.show import show
from gristmill.pipelines.report.embedding_map import embedding_map
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.run.events import Event, Notice, StepDone
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.run_directory import RunDirectory

from ...endpoint import Server

ROWS = 3 * EMBED_CHUNK
FILE = """
gristmill: 1
name: embedded
models: {{vectors: {{engine: embedder, url: "{url}", model: m, batch: 512, attempts: 1}}}}
steps:
  rows: {{source: jsonl, path: "{folder}/rows.jsonl"}}
  unique: {{dedup: semantic, columns: [text], threshold: 0.9999, embedder: vectors, from: rows}}
  again: {{dedup: semantic, columns: [same], threshold: {threshold}, embedder: vectors, from: unique}}
"""


class Log:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)

    def summaries(self) -> dict[str, tuple[int, int]]:
        """step -> (texts embedded, texts reused), of the steps that ran."""
        done = [each for each in self.events if isinstance(each, StepDone) and not each.reused]
        return {
            each.step: (each.summary["texts_embedded"], each.summary["texts_reused"])
            for each in done
            if "texts_embedded" in each.summary
        }


class Vectors:
    """The reply of the server: a direction per text. ``fails``: it is down after so many texts."""

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.fails: int | None = None

    def __call__(self, number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], object]:
        texts = body["input"]
        if self.fails is not None and len(self.embedded) + len(texts) > self.fails:
            return 400, {}, {"error": {"message": "down"}}
        self.embedded += texts
        data = []
        for at, text in enumerate(texts):
            number = int(text.split()[-1])
            data.append({"index": at, "embedding": [number % 61 - 30, number // 61 - 25, 0.5, 7.0]})
        return 200, {}, {"data": data}


@pytest.fixture
def reply() -> Vectors:
    return Vectors()


@pytest.fixture
def run_it(reply: Vectors, tmp_path: Path) -> Iterator[Callable[..., Log]]:
    server = Server(reply)
    with open(tmp_path / "rows.jsonl", "w") as file:
        for number in range(ROWS):
            text = f"text {number}"
            file.write(json.dumps({"text": text, "same": text}) + "\n")

    def go(threshold: float = 0.9999) -> Log:
        path = tmp_path / "embedded.yaml"
        path.write_text(FILE.format(url=server.url, folder=tmp_path, threshold=threshold))
        log = Log()
        gristmill.run(path, tmp_path / "run", observer=log)
        return log

    yield go
    server.close()


def test_a_step_that_failed_goes_on_from_its_last_chunk(
    run_it: Callable[..., Log], reply: Vectors, tmp_path: Path
) -> None:
    reply.fails = 2 * EMBED_CHUNK
    with pytest.raises(GristmillError, match="down"):
        run_it()
    assert len(reply.embedded) == 2 * EMBED_CHUNK
    plan = make_plan(load(str(tmp_path / "embedded.yaml")), file="embedded.yaml")
    costs = {cost.step.name: cost for cost in estimate(plan, RunDirectory.open(tmp_path / "run"))}
    assert costs["unique"].embedding is not None
    assert costs["unique"].embedding.measured
    assert costs["unique"].embedding.texts == EMBED_CHUNK
    shown = show(plan, list(costs.values()), run="run")
    assert "unique embeds about 1,024 texts at" in shown
    assert "(measured in this run directory)" in shown
    reply.fails = None
    log = run_it()
    assert sorted(reply.embedded) == sorted(f"text {number}" for number in range(ROWS))
    kept = len(open_run(tmp_path / "run")["unique"].to_arrow())
    assert log.summaries() == {"unique": (EMBED_CHUNK, 2 * EMBED_CHUNK), "again": (0, kept)}


def test_a_new_threshold_embeds_nothing_and_a_damaged_chunk_is_made_again(
    run_it: Callable[..., Log], reply: Vectors, tmp_path: Path
) -> None:
    first = run_it()
    assert first.summaries()["unique"] == (ROWS, 0)
    rows = open_run(tmp_path / "run")["unique"].to_arrow()
    reply.embedded.clear()
    assert run_it(0.99).summaries()["again"][0] == 0
    assert reply.embedded == []
    run = RunDirectory.open(tmp_path / "run")
    assert list(check(run)) == []
    chunk = next((tmp_path / "run/embeddings").glob("*/chunk-*.arrow"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    (finding,) = check(run)
    assert (finding.path, finding.can_be_moved) == (chunk, True)
    log = run_it(0.98)
    told = [each.text for each in log.events if isinstance(each, Notice)]
    assert any(str(chunk) in text and "set aside" in text for text in told)
    assert 0 < len(reply.embedded) <= EMBED_CHUNK
    assert open_run(tmp_path / "run")["unique"].to_arrow().equals(rows)


def test_another_model_embeds_again(run_it: Callable[..., Log], reply: Vectors, tmp_path: Path) -> None:
    run_it()
    reply.embedded.clear()
    path = tmp_path / "embedded.yaml"
    path.write_text(path.read_text().replace("model: m,", "model: other,"))
    gristmill.run(path, tmp_path / "run", observer=Log())
    assert len(reply.embedded) == ROWS


def test_a_plan_without_a_run_says_that_the_speed_is_assumed(
    run_it: Callable[..., Log], tmp_path: Path
) -> None:
    run_it()
    plan = make_plan(load(str(tmp_path / "embedded.yaml")), file="embedded.yaml")
    assert "at 200 texts/s (assumed" in show(plan, estimate(plan, None), run=None)


def test_the_reports_map_reads_the_stored_vectors_and_does_without_damaged_ones(
    run_it: Callable[..., Log], tmp_path: Path
) -> None:
    run_it()
    run = RunDirectory.open(tmp_path / "run")
    data = gather(run).rounds[0]
    found = embedding_map(data)
    assert found is not None
    assert (found.step, found.rows) == ("unique", ROWS)
    assert found.fates == ["kept", "filtered by unique"]
    assert found.explained > 0.9  # all but two of the server's coordinates are the same for each text
    for chunk in (tmp_path / "run/embeddings").glob("*/chunk-*.arrow"):
        chunk.write_bytes(b"")
    assert embedding_map(data) is None
