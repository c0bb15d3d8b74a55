"""One case of filters_minhash.py: ours.

``python -P filters_minhash_ours.py ROWS.parquet KEPT.npy THRESHOLD components|greedy``
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from gristmill.contracts.context import Context
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup.minhash import MinHashDedup


class Still:
    """The part of a context that the operator calls."""

    def check(self) -> None: ...


def main() -> None:
    data, out, threshold, clusters = sys.argv[1:]
    table = pq.read_table(data, columns=["_id", "text"])
    given: dict[str, Any] = {"threshold": float(threshold), "clusters": clusters}
    operator, context = MinHashDedup(columns=("text",), **given), cast(Context, Still())
    operator.judge(TableRows(table.slice(0, 100)), context)  # imports
    wall, cpu = time.perf_counter(), time.process_time()
    result = operator.judge(TableRows(table), context)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert isinstance(result, TableResult)
    np.save(out, result.kept)
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "rows": table.num_rows}))


if __name__ == "__main__":
    main()
