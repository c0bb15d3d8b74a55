"""One case of the pass-through benchmark, in a process of its own: NAME SOURCE OUT.

Prints {"rows", "seconds"}: seconds of the work itself, without imports and without starting Ray.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def hand_on(table: pa.Table) -> pa.Table:
    """The step that all three run four times: an Arrow table in, the same table out."""
    return table


def ours(source: str, out: str) -> float:
    import gristmill
    from gristmill.pipelines.view.silent import SilentView

    steps = "\n".join(
        f"  step{n}: {{map: 'overhead_rows:hand_on', from: {f'step{n - 1}' if n > 1 else 'rows'}}}"
        for n in range(1, 5)
    )
    file = Path(f"{out}.yaml")
    file.write_text(
        f"gristmill: 1\nname: overhead\nsteps:\n  rows: {{source: parquet, path: '{source}'}}\n{steps}\n"
    )
    started = time.monotonic()
    run = gristmill.run(file, out, observer=SilentView(sys.stderr))
    seconds = time.monotonic() - started
    assert len(run["step4"]) == pq.read_metadata(source).num_rows
    return seconds


def with_ray(source: str, out: str) -> float:
    import ray

    ray.init(log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    started = time.monotonic()
    data = ray.data.read_parquet(source)
    for _ in range(4):
        data = data.map_batches(hand_on, batch_format="pyarrow", batch_size=65_536)
    data.write_parquet(out)
    seconds = time.monotonic() - started
    ray.shutdown()
    return seconds


def with_datasets(source: str, out: str) -> float:
    import datasets

    datasets.disable_progress_bars()
    started = time.monotonic()
    data = datasets.Dataset.from_parquet(source, cache_dir=f"{out}.cache").with_format("arrow")
    for _ in range(4):
        data = data.map(hand_on, batched=True, batch_size=65_536, load_from_cache_file=False)
    Path(out).mkdir()
    data.to_parquet(f"{out}/part.parquet")
    return time.monotonic() - started


def main() -> None:
    name, source, out = sys.argv[1:]
    sys.path.append(str(Path(__file__).parent))
    seconds = {"ours": ours, "ray": with_ray, "datasets": with_datasets}[name](source, out)
    if name == "ours":
        rows = sum(pq.read_metadata(path).num_rows for path in Path(out).glob("steps/step4-*/part-*.parquet"))
    else:
        rows = sum(pq.read_metadata(path).num_rows for path in Path(out).glob("*.parquet"))
    print(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
