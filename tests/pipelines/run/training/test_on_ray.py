"""Training on a Ray cluster of two nodes, of which one is lost: the losses of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.pipelines.view.silent import SilentView

if TYPE_CHECKING:
    from conftest import Cluster

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
PIPELINE = """
gristmill: 1
name: spread
seed: 5
models: {{base: {{path: {model}}}}}
steps:
  rows: {{source: jsonl, path: {rows}}}
  student:
    {{train: sft, from: rows, model: base, quantize: none, dtype: fp32, device: cpu, epochs: 40,
      max_length: 64, batch_rows: 2, pack_tokens: 1, checkpoint_every: 2, processes: {processes},
      adapter: {{rank: 2, alpha: 4, dropout: 0.2}}}}
"""


@pytest.mark.ray
def test_a_training_goes_on_from_its_checkpoint_on_the_node_that_is_left(
    make_model, tmp_path: Path, own_cluster: Cluster
) -> None:
    worker = own_cluster.start(
        f"--address={own_cluster.address}", "--num-cpus=2", "--node-ip-address=127.0.0.1"
    )
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"say {n}", "response": "abc"[: 1 + n % 3]}) + "\n" for n in range(8))
    )
    places = {"model": make_model(), "rows": tmp_path / "rows.jsonl"}
    for name, processes in (("one", 1), ("two", 2)):
        (tmp_path / f"{name}.yaml").write_text(PIPELINE.format(**places, processes=processes))
    own_cluster.wait_for_nodes(2)
    command = [GRISTMILL, "run", str(tmp_path / "two.yaml"), "--trust", "--run", str(tmp_path / "two")]
    process = subprocess.Popen(
        [*command, "--ray-address", own_cluster.address, "--json", "--no-report"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    gristmill.run(tmp_path / "one.yaml", tmp_path / "one", observer=SilentView(sys.stderr))
    assert process.stdout is not None
    for line in process.stdout:
        if '"StepProgress"' in line and json.loads(line)["done"] > 2:
            break
    assert process.poll() is None
    own_cluster.kill(worker)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out[-2000:] + err[-3000:]
    told = "a node of the Ray cluster was lost; 2 training processes with 1 core each go on from the last"
    assert told in out
    one, two = (
        pq.read_table(next((tmp_path / name).glob("steps/student-*/history.parquet")))
        for name in ("one", "two")
    )
    assert two["rows"].to_pylist() == one["rows"].to_pylist()
    assert two["loss"].to_pylist() == pytest.approx(one["loss"].to_pylist(), rel=1e-5)
    (part,) = gristmill.open_run(tmp_path / "two")["student"].store.parts()
    assert part.summary is not None
    assert part.summary["processes"] == 2
