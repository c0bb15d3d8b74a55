"""A step that decides about all rows asks a model as other steps do: its tokens are counted and paid once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import EngineError
from gristmill.pipelines.run.events import Event, PartDone

from ...endpoint import Server

FILE = """
gristmill: 1
name: named
models:
  namer: {{engine: openai, url: "{url}", model: any, patience: 0}}
  vectors: {{engine: embedder, url: "{vectors}", model: m, attempts: 1}}
steps:
  rows:   {{source: jsonl, path: "{folder}/rows.jsonl"}}
  topics: {{cluster: 2, columns: [text], labeler: namer, embedder: vectors, from: rows}}
"""


class Log:
    def __init__(self) -> None:
        self.parts: list[PartDone] = []

    def on(self, event: Event) -> None:
        if isinstance(event, PartDone) and event.step == "topics":
            self.parts.append(event)


@pytest.fixture
def file(tmp_path: Path, teach: Callable[..., Any]) -> Iterator[tuple[Path, Any]]:
    def vectors(_: int, body: Any) -> tuple[int, dict[str, str], object]:
        found = [[1.0, 0.1 * (len(text) % 3), 5.0 * ("rain" in text)] for text in body["input"]]
        return 200, {}, {"data": [{"index": place, "embedding": each} for place, each in enumerate(found)]}

    teacher = teach(lambda prompt, seed: "Rain" if "rain" in prompt else "Sun")
    texts = [f"{'rain' if number % 3 else 'sun'} in town {number}" for number in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    path = tmp_path / "named.yaml"
    with closing(Server(vectors)) as server:
        path.write_text(FILE.format(url=teacher.url, vectors=server.url, folder=tmp_path))
        yield path, teacher


def test_clusters_are_named_by_a_model_and_its_tokens_are_counted(
    file: tuple[Path, Any], tmp_path: Path
) -> None:
    path, teacher = file
    log = Log()
    run = gristmill.run(path, tmp_path / "run", observer=log)
    rows = run["topics"].to_arrow().to_pylist()
    assert {(row["text"].split()[0], row["cluster_label"]) for row in rows} == {
        ("rain", "Rain"),
        ("sun", "Sun"),
    }
    assert len(teacher.prompts) == 2
    assert run["topics"].store.manifest["usage"]["requests"] == 2
    assert sum(part.usage.requests for part in log.parts) == 2
    gristmill.run(path, tmp_path / "run")
    assert len(teacher.prompts) == 2


def test_a_server_that_is_down_stops_the_step_with_its_name(file: tuple[Path, Any], tmp_path: Path) -> None:
    path, teacher = file
    path.write_text(path.read_text().replace(teacher.url, "http://127.0.0.1:9/v1"))
    with pytest.raises(EngineError, match="topics"):
        gristmill.run(path, tmp_path / "run")
