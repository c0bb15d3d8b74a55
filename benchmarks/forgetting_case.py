"""One case of the forgetting benchmark, in a separate process.

train FOLDER NAME SETTINGS         trains on FOLDER/rows.jsonl; prints its figures and the path of the student
measure FOLDER WINDOWS [STUDENT]   prints the losses of SmolLM2 with the student's changes
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"
#: Tokens per piece of prose.
WINDOW = 256


def train(folder: Path, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train; ``seconds`` covers only the optimizer steps."""
    import yaml

    import gristmill
    from gristmill.pipelines.run.events import Observers

    file = folder / f"{name}.yaml"
    given = {
        "train": "sft",
        "model": MODEL,
        "data": str(folder / "rows.jsonl"),
        "out": str(folder / name),
        "seed": 17,
        "quantize": "none",
        "batch_tokens": 512,
        "pack_tokens": 512,
        "max_length": 512,
        "warmup_ratio": 0.1,
        "checkpoint_every": 10_000,
        **settings,
    }
    file.write_text(yaml.safe_dump(given))
    store = gristmill.run(file, observer=Observers())["student"].store
    metrics = store.manifest["summary"]
    kept = ("rows", "steps", "tokens", "trained_tokens", "seconds", "loss_first", "loss_last")
    return {"student": str(store.model), **{key: metrics[key] for key in kept}}


def measure(folder: Path, windows: int, student: Path | None) -> dict[str, Any]:
    """Measure losses; ``changed`` of ``entries`` weights in linear layers differ from the base."""
    import torch

    from gristmill.pipelines.weights import fetch
    from gristmill.trainer.data.chat import ChatEncoder
    from gristmill.trainer.merging.sources import open_merge_source
    from gristmill.trainer.model.loading import load_model

    path = fetch(MODEL)
    model, encoder = load_model(path, dtype=torch.float32), ChatEncoder(path)
    changed = entries = 0
    source = None if student is None else open_merge_source(student, path)
    for name, linear in model.linears():
        key, weight = f"model.{name}.weight", linear.weight()
        entries += weight.numel()
        if source is not None and key in source.names:
            change = source.change(key, weight)
            changed += int(change.count_nonzero())
            linear.base = weight + change

    @torch.no_grad()
    def loss(ids: list[int], first: int) -> tuple[float, int]:
        """Return the loss summed over the tokens from ``first``, and their number."""
        known = torch.tensor(ids)
        logits = model.logits(known, [len(ids)])[first - 1 : -1]
        summed = torch.nn.functional.cross_entropy(logits, known[first:], reduction="sum")
        return float(summed), len(ids) - first

    def mean(parts: list[tuple[float, int]]) -> float:
        return sum(total for total, _ in parts) / sum(count for _, count in parts)

    task = []
    for line in (folder / "held.jsonl").read_text().splitlines():
        row = json.loads(line)
        asked = [{"role": "user", "content": row["prompt"]}]
        tokens = encoder.encode([*asked, {"role": "assistant", "content": row["response"]}])
        task.append(loss(list(tokens.ids), tokens.trained.index(True)))
    ids = encoder.tokenizer.encode((folder / "prose.txt").read_text(), add_special_tokens=False)
    apart = max(WINDOW, len(ids) // windows)
    prose = [loss(ids[start : start + WINDOW], 1) for start in range(0, len(ids) - WINDOW, apart)]
    return {
        "task_loss": mean(task),
        "prose_loss": mean(prose),
        "changed": changed,
        "entries": entries,
        "prose_tokens": sum(count for _, count in prose),
        "task_tokens": sum(count for _, count in task),
    }


def main() -> None:
    kind, folder, *rest = sys.argv[1:]
    if kind == "train":
        answer = train(Path(folder), rest[0], json.loads(rest[1]))
    else:
        answer = measure(Path(folder), int(rest[0]), Path(rest[1]) if len(rest) > 1 else None)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
