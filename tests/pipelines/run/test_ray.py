"""On Ray: the same files byte for byte, and a lost node loses and duplicates nothing."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pytest

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.chain import Chain, Emit, StepResult
from gristmill.pipelines.run.ray_executor import Carrier
from gristmill.pipelines.view.silent import SilentView

if TYPE_CHECKING:
    from conftest import Cluster

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
PIPELINE = """
gristmill: 1
name: spread
seed: 5
models:
  base:
    {{engine: synthetic, latency: {latency}, max_num_seqs: 16, replicas: 2,
      request_log: "{folder}/requests.log"}}
steps:
  prompts: {{source: constraints, split: train, rows: 160}}
  answers: {{generate: respond, from: prompts, model: base, samples: 2, max_tokens: 12, logprobs: 2}}
  checked: {{verify: constraints, from: answers}}
  scored:  {{score: [length, mean_logprob], from: checked}}
  unique:  {{dedup: exact, from: scored}}
  chosen:  {{select: random, rows: 40, from: unique}}
  dataset: {{export: parquet, from: chosen, format: messages}}
"""


def write(folder: Path, latency: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "spread.yaml"
    file.write_text(PIPELINE.format(folder=folder, latency=latency))
    return file


def files(run: Path) -> dict[str, bytes]:
    found = [*run.glob("steps/*/part-*.parquet"), *run.glob("exports/**/*.parquet")]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


@pytest.mark.ray
def test_the_same_parquet_byte_for_byte_as_the_local_executor(tmp_path: Path, cluster: str) -> None:
    local, spread = tmp_path / "local", tmp_path / "ray"
    gristmill.run(write(local), local / "run", observer=SilentView(sys.stderr))
    command = [
        GRISTMILL,
        "run",
        str(write(spread)),
        "--trust",
        "--run",
        str(spread / "run"),
        "--ray-address",
        cluster,
    ]
    subprocess.run([*command, "--quiet", "--no-report"], check=True, timeout=600)
    assert files(local / "run")
    assert files(spread / "run") == files(local / "run")
    asked = [Counter((folder / "requests.log").read_text().split()) for folder in (local, spread)]
    assert asked[0] == asked[1]
    assert set(asked[0].values()) == {1}


@pytest.mark.ray
def test_an_error_of_a_worker_is_one_line_that_names_its_step(tmp_path: Path, cluster: str) -> None:
    file = write(tmp_path / "ray")
    file.write_text(file.read_text().replace("[length,", "[self_certainty,"))
    command = [
        GRISTMILL,
        "run",
        str(file),
        "--trust",
        "--run",
        str(tmp_path / "run"),
        "--ray-address",
        cluster,
    ]
    done = subprocess.run(
        [*command, "--quiet", "--no-report", "--set", "steps.answers.logprobs=null"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("step scored: ")
    assert "column 'logprobs'" in done.stderr or "column 'top_logprobs'" in done.stderr
    assert done.stderr.count("step scored") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.ray
def test_what_a_micro_batch_has_finished_is_kept_when_a_later_step_fails(
    tmp_path: Path, cluster: str
) -> None:
    file = write(tmp_path / "ray")
    text = file.read_text().replace("rows: 160", "rows: 4").replace("logprobs: 2", "logprobs: null")
    command = [GRISTMILL, "run", str(file), "--trust", "--run", str(tmp_path / "run")]
    command += ["--ray-address", cluster, "--quiet", "--no-report"]
    file.write_text(text.replace("[length, mean_logprob]", "self_certainty"))
    assert subprocess.run(command, capture_output=True, timeout=600).returncode == 1
    for step in ("answers", "checked"):
        assert len(list((tmp_path / "run").glob(f"steps/{step}-*/part-*.parquet"))) == 1
    file.write_text(text.replace("[length, mean_logprob]", "length"))
    subprocess.run(command, check=True, timeout=600)
    asked = Counter((tmp_path / "ray/requests.log").read_text().split())
    assert (len(asked), set(asked.values())) == (8, {1})


class Unpicklable(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize("error", [DataError("no column 'n'", step="scored"), Unpicklable(1, 2)])
def test_a_worker_answers_with_what_it_finished_and_the_error(error: Exception) -> None:
    class FailingChain:
        async def run(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
            await emit(StepResult("answers", table, table.num_rows, Usage(), 0.0, {}))
            raise error

    carrier = Carrier()
    carrier._chain, carrier._reference = cast(Chain, FailingChain()), "job"
    answer = asyncio.run(carrier.carry(["job"], pa.table({"n": [1, 2]}), 0, 1))
    results, told = pickle.loads(pickle.dumps(answer))
    assert [(result.step, result.rows_in) for result in results] == [("answers", 2)]
    assert str(error) in str(told)
    assert isinstance(told, DataError) == isinstance(error, DataError)


@pytest.mark.ray
def test_a_node_killed_in_the_middle_of_generation_loses_and_doubles_nothing(
    tmp_path: Path, own_cluster: Cluster
) -> None:
    local, spread = tmp_path / "local", tmp_path / "ray"
    gristmill.run(write(local), local / "run", observer=SilentView(sys.stderr))
    worker = own_cluster.start(
        f"--address={own_cluster.address}", "--num-cpus=2", "--node-ip-address=127.0.0.1"
    )
    own_cluster.wait_for_nodes(2)
    file = write(spread, latency=1.5)
    command = [
        GRISTMILL,
        "run",
        str(file),
        "--trust",
        "--run",
        str(spread / "run"),
        "--ray-address",
        own_cluster.address,
    ]
    process = subprocess.Popen(
        [*command, "--json", "--no-report"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"PartDone"' in line and json.loads(line)["step"] == "answers":
            break
    assert process.poll() is None
    own_cluster.kill(worker)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-2000:]
    assert files(spread / "run") == files(local / "run")
    ledger = gristmill.open_run(spread / "run")["checked"].store.ledger()
    assert ledger.rows_in == ledger.made == ledger.kept + ledger.filtered + ledger.failed == 320


VLLM = """
gristmill: 1
name: served
seed: 5
models:
  base: {path: smollm2-135m-instruct, max_num_seqs: 16}
steps:
  prompts: {source: constraints, split: train, rows: 6}
  answers: {generate: respond, from: prompts, model: base, samples: 2, max_tokens: 12}
"""


@pytest.mark.ray
@pytest.mark.engine
def test_the_same_requests_to_vllm_as_from_the_local_executor(tmp_path: Path, cluster: str) -> None:
    file = tmp_path / "served.yaml"
    file.write_text(VLLM)
    asked, runs = [], [tmp_path / "local", tmp_path / "ray"]
    # At the same time: most of the time each of them imports vLLM, on one core.
    processes = [
        subprocess.Popen(
            [GRISTMILL, "run", str(file), "--trust", "--run", str(run), "--quiet", "--no-report", *executor]
        )
        for run, executor in zip(runs, ([], ["--ray-address", cluster]))
    ]
    try:
        assert [process.wait(1200) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for run in runs:
        table = gristmill.open_run(run)["answers"].to_arrow()
        # Ids derive from the step, the prompt and the ordinal; seeds derive from ids and the step's seed.
        asked.append(table.select(["_id", "_parents", "prompt", "sample", "prompt_tokens"]).to_pylist())
    assert len(asked[0]) == 12
    assert asked[0] == asked[1]
