"""On Ray, whole-table steps make the same files, whatever becomes of workers and nodes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gristmill

if TYPE_CHECKING:
    from conftest import Cluster

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
#: An operator of a package, and everything in small pieces. In a worker, one batch kills the worker the first
#: time, and one sees no disk.
OPERATOR = '''
import os, signal, time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.contracts import stored_rows
from gristmill.contracts.errors import StoreError
from gristmill.contracts.operators import WholeTable
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.stored_rows import ROW
from gristmill.pipelines.run.whole_table import partitions

from gristmill.pipelines.run import source_parts
from gristmill.pipelines.sinks import arrow, export
from gristmill.pipelines.sources import json_blocks

stored_rows.BATCH_ROWS, partitions.PARTITION_ROWS = 100, 50
json_blocks.BLOCK_BYTES, source_parts.PART_ROWS = 5000, 200
arrow.FILE_ROWS = export.FILE_ROWS = 250


def keys(batch, trouble, driver):
    first = batch[ROW][0].as_py()
    if os.getpid() != driver and trouble.exists():
        time.sleep(0.3)
        if 300 <= first < 400 and not (trouble / "killed").exists():
            (trouble / "killed").write_text("once")
            os.kill(os.getpid(), signal.SIGKILL)
        if 700 <= first < 800:
            (trouble / "blind").write_text("seen")
            raise StoreError("a disk that is not here")
    return pa.table({"text": batch["text"], ROW: batch[ROW]})


def copies(group):
    rows, texts = group[ROW].to_numpy(), group["text"].to_pylist()
    first, of = 0, []
    for index in range(len(texts)):
        if texts[index] != texts[first]:
            first = index
        of.append(-1 if index == first else rows[first])
    return pa.table({"row": group[ROW], "of": pa.array(of, pa.int64())})


class Firsts(WholeTable):
    """Keep the first row of each text.

    Filters: `copy`.
    """

    trouble: str
    """Folder of the test."""

    def uses_columns(self):
        return ["text"]

    def judge(self, rows, context):
        function = partial(keys, trouble=Path(self.trouble), driver=os.getpid())
        found = rows.map(function, ["text"], name="keys").group(copies, "text", name="copies").table()
        of = np.empty(rows.num_rows, np.int64)
        of[found["row"].to_numpy()] = found["of"].to_numpy()
        summary = {"copies": int((of >= 0).sum())}
        return TableResult(kept=of < 0, rule="copy", duplicate_of=of, summary=summary)
'''
PIPELINE = """
gristmill: 1
name: firsts
memory: 200MB
steps:
  texts: {{source: jsonl, path: {folder}/texts.jsonl}}
  unique: {{dedup: firsts, trouble: {folder}/trouble, from: texts}}
  dataset: {{export: parquet, from: unique}}
  lines: {{export: jsonl, from: unique}}
  folder: {{export: arrow, from: unique}}
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package that adds the operator, and a pipeline that uses it."""
    (tmp_path / "firsts.py").write_text(OPERATOR)
    info = tmp_path / "firsts-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: firsts\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gristmill.operators]\ndedup.firsts = firsts:Firsts\n")
    lines = [f'{{"text": "text {n * n % 701}"}}\n' for n in range(1500)]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    (tmp_path / "firsts.yaml").write_text(PIPELINE.format(folder=tmp_path))
    return tmp_path


def command(package: Path, name: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [GRISTMILL, "run", "firsts.yaml", "--trust", "--run", name, "--quiet", "--no-report", *more],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]
    return said


def files(run: Path) -> dict[str, bytes]:
    found = [
        *run.glob("steps/*/part-*.parquet"),
        *(path for path in run.glob("exports/**/*") if path.is_file()),
    ]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


@pytest.mark.ray
def test_the_same_parquet_from_two_nodes_of_which_one_is_killed(package: Path, own_cluster: Cluster) -> None:
    finish(command(package, "local"))
    second = own_cluster.start(
        f"--address={own_cluster.address}", "--num-cpus=2", "--node-ip-address=127.0.0.1"
    )
    own_cluster.wait_for_nodes(2)
    (package / "trouble").mkdir()
    process = command(package, "ray", "--ray-address", own_cluster.address)
    while process.poll() is None and len(list((package / "ray").glob("work/*/keys*/*.arrow"))) < 4:
        time.sleep(0.05)
    own_cluster.kill(second)
    finish(process)
    assert {path.name for path in (package / "trouble").iterdir()} == {"killed", "blind"}
    local = files(package / "local")
    assert len([name for name in local if "steps/unique" in name]) >= 15
    assert len([name for name in local if "steps/texts" in name]) > 6
    assert len([name for name in local if name.endswith(".arrow")]) == 2
    assert files(package / "ray") == local
    ledger = gristmill.open_run(package / "ray")["unique"].store.ledger()
    assert ledger.rows_in == ledger.made == ledger.kept + ledger.filtered == 1500
    assert not list((package / "ray").glob("work/*"))
