"""Encoding of many rows for a training: into Python objects, and into a mapped file.

    .venv/bin/python benchmarks/encode_rows.py [--rows 100000]

The rows are functions of the standard library (docstring -> source), each many times with a number in its
prompt, encoded with SmolLM2's tokenizer and chat template. Each way runs in a fresh process. ``objects``:
``encode_rows``, as a training did before. ``file``: ``encode_table``. Then every pack of one epoch is read
once, and both must give the same examples in the same order (``digest``). Peak memory is that of the
process and its children; that of the examples is what the process holds of its own, without pages of files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Figure, run_case, versions, write
from train_cpu import write_rows

if TYPE_CHECKING:
    import pyarrow as pa

WAYS = ("objects", "file")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--way", nargs=3, metavar=("WAY", "MODEL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        way, model, folder = given.way
        print(json.dumps(encode(way, Path(model), Path(folder))))
    else:
        measure(given.rows)


def measure(count: int) -> None:
    from gristmill.pipelines.weights import resolve

    model = str(resolve("smollm2-135m-instruct").path)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder), count)
        for way in WAYS:
            case = run_case([sys.executable, __file__, "--way", way, model, folder], timeout=3000)
            found[way] = {**case.answer, "peak_mib": case.peak_mib}
            print(way, found[way], flush=True)
    before, after = (found[way] for way in WAYS)
    if before["digest"] != after["digest"]:
        raise SystemExit("the examples differ")
    figures = [
        Figure(f"{count:,} rows, encoding", "rows/s", after["rows_per_s"], before["rows_per_s"], "objects",
               "", after["rows_per_s"] / before["rows_per_s"], ">= 1.5"),
        Figure(f"{count:,} rows, examples in memory", "MiB", after["examples_mib"], before["examples_mib"],
               "objects", "", before["examples_mib"] / max(1.0, after["examples_mib"]), ">= 9"),
    ]  # fmt: skip
    write("encode_rows", figures, versions("pyarrow", "transformers"), {"rows": count, "runs": found})


def write_table(folder: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_rows(folder / "functions.jsonl", 240)
    functions = [json.loads(line) for line in (folder / "functions.jsonl").read_text().splitlines()]
    chosen = [(number, functions[number % len(functions)]) for number in range(count)]
    columns = {
        "_id": [f"{number}" for number, _ in chosen],
        "prompt": [f"Task {number}. {function['prompt']}" for number, function in chosen],
        "response": [function["completion"] for _, function in chosen],
    }
    pq.write_table(pa.table(columns), folder / "rows.parquet")


def encode(way: str, model: Path, folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq
    from train_cpu_ours import Alone

    from gristmill.trainer.data.encode import RowEncoder, encode_rows
    from gristmill.trainer.data.encode_table import encode_table
    from gristmill.trainer.data.lazy_examples import tokens_of
    from gristmill.trainer.data.packs import plan_steps
    from gristmill.trainer.methods.sft import SupervisedFineTuning
    from gristmill.trainer.model.model_config import ModelConfig

    step = SupervisedFineTuning.model_validate({"model": "base"})
    context: Any = Alone(str(model), folder / way)
    objective, encoder = step.objective(context), step.encoder(model)
    vocabulary = ModelConfig.read(model).vocabulary
    table: pa.Table = pq.read_table(folder / "rows.parquet")
    rows = RowEncoder.of(step, objective, encoder, vocabulary)
    rows.examples(table.slice(0, 10).to_pylist())  # what is loaded at the first use
    before, started = own_bytes(), time.perf_counter()
    if way == "objects":
        encoded = encode_rows(
            table.to_pylist(), objective.encode, encoder, max_length=step.max_length, vocabulary=vocabulary
        )
    else:
        encoded = encode_table(step, table, context, rows, "examples")
    seconds = time.perf_counter() - started
    held = own_bytes() - before
    examples, tokens = encoded.examples, tokens_of(encoded.examples)
    began = time.perf_counter()
    steps = plan_steps(tokens, epochs=1, seed=17, capacity=1024, batch_tokens=2048)
    planned, whole = time.perf_counter() - began, blake2b(digest_size=16)
    began = time.perf_counter()
    for packs in steps:
        for indices in packs:
            whole.update(repr([examples[index] for index in indices]).encode())
    return {
        "rows_per_s": table.num_rows / seconds,
        "tokens_per_row": sum(tokens) / len(tokens),
        "examples_mib": held / 2**20,
        "plan_steps_s": planned,
        "read_epoch_s": time.perf_counter() - began,
        "digest": whole.hexdigest(),
    }


def own_bytes() -> int:
    """Return the resident memory of this process without pages of files, which the system may take back."""
    import psutil

    used = psutil.Process().memory_info()
    return int(used.rss - getattr(used, "shared", 0))


if __name__ == "__main__":
    sys.exit(main())
