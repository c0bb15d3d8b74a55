"""Are calibrated confidences to be believed, and does ``keep: "precision >= P"`` hold what it promises?

Reads the scored and verified answers of finished runs (such as a step ``scored`` of a run whose answers have
``logprobs``), splits each at random 200 times into labelled and unseen rows, by prompt, and measures on the
unseen half: ECE and Brier score before and after, and how often the kept rows have the precision.

    python benchmarks/calibration.py RUN:STEP [RUN:STEP ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.calibrate.calibrate import Calibrate
from gristmill.filters.calibrate.reliability import raw_reliability, reliability
from gristmill.filters.expressions.keep import Keep

RESAMPLES = 200
SCORES = ("mean_logprob", "self_certainty", "response_words")
TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Seeded:
    """The context of a step that needs nothing but a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def check(self) -> None:
        return


def measured(table: pa.Table, label: str) -> dict[str, Any]:
    """The figures of one table of scored answers with a label for each row."""
    scores = [name for name in SCORES if name in table.column_names]
    whole = np.isfinite(np.stack([table[name].to_numpy().astype(float) for name in scores])).all(axis=0)
    table = table.filter(pa.array(whole))
    truth = table[label].to_numpy(zero_copy_only=False).astype(bool)
    prompts = np.array(table["prompt"].to_pylist())
    before, after = [], []
    held = {target: {"promised": 0, "held": 0, "kept": []} for target in TARGETS}
    for seed in range(RESAMPLES):
        draw = np.random.default_rng(seed)
        names = np.unique(prompts)
        known = np.isin(prompts, draw.permutation(names)[: len(names) // 2])
        labels = pa.array(truth, mask=~known)
        given = table.select(["_id", "prompt", *scores]).append_column("label", labels)
        step = Calibrate(calibrate=tuple(scores), label="label", group="prompt")
        result = step.judge(TableRows(given), Seeded(seed))  # type: ignore[arg-type]
        confidence = result.columns["confidence"].to_numpy()
        unseen = ~known
        raw = given[scores[0]].to_numpy().astype(float)
        before.append(raw_reliability(raw[unseen], truth[unseen]))
        after.append(reliability(confidence[unseen], truth[unseen]))
        rated = given
        for name, column in result.columns.items():
            rated = rated.append_column(name, column)
        for target, found in held.items():
            try:
                kept = Keep(keep=f"precision >= {target}").judge(TableRows(rated), Seeded(seed)).kept  # type: ignore[arg-type]
            except DataError:
                continue
            mine = kept & unseen
            found["promised"] += 1
            found["held"] += int(not mine.any() or truth[mine].mean() >= target - 1e-12)
            found["kept"].append(float(mine.sum() / unseen.sum()))
    return {
        "rows": table.num_rows,
        "prompts": len(np.unique(prompts)),
        "right": float(truth.mean()),
        "before": {name: float(np.mean([each[name] for each in before])) for name in ("ece", "brier", "auc")},
        "after": {name: float(np.mean([each[name] for each in after])) for name in ("ece", "brier", "auc")},
        "curve_before": before[0]["bins"],
        "curve_after": after[0]["bins"],
        "precision": {
            str(target): {
                "resamples": RESAMPLES,
                "promised": found["promised"],
                "broken": found["promised"] - found["held"],
                "held_or_refused": 1 - (found["promised"] - found["held"]) / RESAMPLES,
                "share_kept": float(np.mean(found["kept"])) if found["kept"] else None,
            }
            for target, found in held.items()
        },
    }


def main() -> None:
    import json

    import measuring

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", metavar="RUN:STEP")
    parser.add_argument("--label", default="passed")
    asked = parser.parse_args()
    more = {}
    for each in asked.steps:
        run, _, step = each.rpartition(":")
        table = gristmill.open_run(run)[step].to_arrow()
        more[Path(run).name] = measured(table, asked.label)
        print(json.dumps(more[Path(run).name], indent=1))
    measuring.write("calibration", [], measuring.versions("scikit-learn", "numpy"), more)


if __name__ == "__main__":
    main()
