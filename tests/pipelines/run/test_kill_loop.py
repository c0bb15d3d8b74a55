"""A sample of benchmarks/kill_loop.py: a loop that is killed while it decides comes to the same verdicts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from kill_loop import campaign

#: Without a training, so that a run takes moments.
PIPELINE = """
gristmill: 1
name: killed-deciding
seed: 5
models: {{writer: {{engine: synthetic}}}}
steps:
  tasks:  {{source: jsonl, path: "{tasks}"}}
  said:   {{generate: respond, from: tasks, model: writer, max_tokens: 4}}
  chosen: {{select: random, rows: 3, from: [said, said@all]}}
loop: {{rounds: 2}}
"""


def test_a_loop_that_is_killed_while_it_decides_comes_to_the_same_verdicts(tmp_path: Path) -> None:
    tasks, file = tmp_path / "tasks.jsonl", tmp_path / "loop.yaml"
    tasks.write_text("".join(f"{json.dumps({'prompt': f'What is {n}?'})}\n" for n in range(4)))
    file.write_text(PIPELINE.format(tasks=tasks))
    killed, loops, different = campaign(tmp_path, file, kills=4, seed=2, phases=["deciding"] * 4)
    assert killed == {"deciding": 4}
    assert loops >= 1
    assert different == []
