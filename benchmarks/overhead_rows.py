"""One case of the pass-through benchmark, in a separate process: NAME SOURCE OUT.

Prints {"rows", "seconds"}: seconds of the work itself. Each library first processes the first
1,000 rows of the source, so that imports on first use and the start of Ray are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def hand_on(table: pa.Table) -> pa.Table:
    """The step that all three run four times: it returns its Arrow table."""
    return table


def ours(source: str, out: str) -> None:
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
    gristmill.run(file, out, observer=SilentView(sys.stderr))


def with_ray(source: str, out: str) -> None:
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.read_parquet(source)
    for _ in range(4):
        data = data.map_batches(hand_on, batch_format="pyarrow", batch_size=65_536)
    data.write_parquet(out)


def with_datasets(source: str, out: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    data = datasets.Dataset.from_parquet(source, cache_dir=f"{out}.cache").with_format("arrow")
    for _ in range(4):
        data = data.map(hand_on, batched=True, batch_size=65_536, load_from_cache_file=False)
    Path(out).mkdir()
    data.to_parquet(f"{out}/part.parquet")


#: Each case, and the path of its output below its folder.
CASES = {
    "ours": (ours, "steps/step4-*/part-*.parquet"),
    "ray": (with_ray, "*.parquet"),
    "datasets": (with_datasets, "*.parquet"),
}


def main() -> None:
    name, source, out = sys.argv[1:]
    sys.path.append(str(Path(__file__).parent))
    if name == "ray":
        import ray

        ray.init("local", log_to_driver=False, include_dashboard=False)
    case, files = CASES[name]
    few = f"{out}.few.parquet"
    pq.write_table(pa.Table.from_batches([next(pq.ParquetFile(source).iter_batches(1000))]), few)
    case(few, f"{out}.few")
    started = time.monotonic()
    case(source, out)
    seconds = time.monotonic() - started
    rows = sum(pq.read_metadata(path).num_rows for path in Path(out).glob(files))
    print(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
