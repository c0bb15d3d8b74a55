"""One method of ``methods.py`` in a process of its own: trains SmolLM2-135M, then measures the student.

    methods_case.py FOLDER SETTINGS     trains by SETTINGS (JSON) on the rows in FOLDER, and measures
    methods_case.py FOLDER              measures the model before training

Peak memory is that of the training. The student's change is merged into the weights that it was trained over,
or attached to the model if it cannot be merged.
Its losses are computed in float32, its answers in bfloat16, as it is served.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

MODEL = "smollm2-135m-instruct"
#: Tokens per piece of prose, and the longest answer to an item.
WINDOW, ANSWER = 256, 96
Change = dict[str, torch.Tensor]


def train(folder: Path, settings: dict[str, Any], out: Path) -> tuple[Path, dict[str, Any]]:
    """Train; return the student's directory and the figures of its training."""
    import yaml

    import gristmill
    from gristmill.pipelines.run.events import Observers

    file = out / "training.yaml"
    file.write_text(yaml.safe_dump({"model": MODEL, "out": str(out / "run"), **settings}))
    store = gristmill.run(file, observer=Observers())["student"].store
    metrics = store.manifest["summary"]
    kept = ("rows", "steps", "tokens", "seconds", "peak_memory_mib", "predicted_memory_mib")
    return store.model, {name: metrics[name] for name in (*kept, "trainable_parameters")}


def weights_of(student: Path, base: Path) -> tuple[Change, int]:
    """Return the linear weights that the student computes with, float32, and how many it changed."""
    from gristmill.trainer.adapters.own_files import CONFIG as OWN
    from gristmill.trainer.adapters.peft_files import CONFIG as PEFT
    from gristmill.trainer.merging.own_source import TrainedOwnSource
    from gristmill.trainer.merging.sources import DeltaSource
    from gristmill.trainer.merging.trained_source import TrainedSource
    from gristmill.trainer.model.loading import load_model
    from gristmill.trainer.sparse.delta_files import CONFIG as DELTA

    kinds = {PEFT: TrainedSource, OWN: TrainedOwnSource, DELTA: DeltaSource}
    source: Any = next(kind(student) for config, kind in kinds.items() if (student / config).exists())
    found, changed = {}, 0
    for layer, linear in load_model(base, dtype=torch.float32).linears():
        name, weight = f"model.{layer}.weight", linear.weight()
        held = source.base(name, weight) if hasattr(source, "base") else weight
        change = source.change(name, held) if name in source.names else torch.zeros_like(held)
        changed += int(change.count_nonzero())
        found[name] = held + change
    return found, changed


class Measured:
    """The model with the student's weights, as transformers computes it.

    ``beside``: the directory of an adapter that is attached to the model.
    """

    def __init__(self, base: Path, weights: Change, beside: Path | None, dtype: torch.dtype) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from gristmill.pipelines.engines.added_modules import attach

        self.tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        missing = weights.keys() - self.model.state_dict().keys()
        if missing:
            raise SystemExit(f"the student changes tensors that the model lacks: {sorted(missing)[:3]}")
        self.model.load_state_dict(weights, strict=False)
        self.model.to(dtype)
        if beside is not None:
            attach(self.model, beside)

    @torch.inference_mode()
    def loss(self, ids: list[int], first: int) -> tuple[float, int]:
        """Return the loss (nats) summed over the tokens from ``first``, and their number."""
        known = torch.tensor(ids)
        logits = self.model(known[None]).logits[0, first - 1 : -1]
        return float(torch.nn.functional.cross_entropy(logits, known[first:], reduction="sum")), len(
            ids
        ) - first

    def rendered(self, prompt: str, response: str | None = None) -> list[int]:
        turns = [{"role": "user", "content": prompt}]
        turns += [] if response is None else [{"role": "assistant", "content": response}]
        text = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=response is None
        )
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def task_loss(self, rows: list[dict[str, Any]]) -> float:
        """Return the mean loss of a response's token."""
        return _mean(
            [
                self.loss(self.rendered(row["prompt"], row["response"]), len(self.rendered(row["prompt"])))
                for row in rows
            ]
        )

    def prose_loss(self, text: str, windows: int) -> float:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        apart = max(WINDOW, len(ids) // windows)
        return _mean(
            [self.loss(ids[start : start + WINDOW], 1) for start in range(0, len(ids) - WINDOW, apart)]
        )

    @torch.inference_mode()
    def answers(self, items: list[dict[str, Any]]) -> list[str]:
        """Return the greedy answers, of at most ``ANSWER`` tokens.

        As transformers' ``generate``, but answers that have ended are not computed any more.
        """
        from transformers import DynamicCache

        batch = self.tokenizer.pad(
            {"input_ids": [self.rendered(item["prompt"]) for item in items]}, return_tensors="pt"
        )
        ids, mask, cache = batch["input_ids"], batch["attention_mask"], DynamicCache()
        places, running = (mask.cumsum(1) - 1).clamp(min=0), torch.arange(len(items))
        made: list[list[int]] = [[] for _ in items]
        for _ in range(ANSWER):
            hidden = self.model.model(
                input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache
            ).last_hidden_state
            # A strided last position would copy the head's weights for each row.
            ids = self.model.lm_head(hidden[:, -1].contiguous()).argmax(-1)[:, None]
            goes_on = (ids[:, 0] != self.tokenizer.eos_token_id).nonzero()[:, 0]
            if not len(goes_on):
                break
            if len(goes_on) < len(ids):
                cache.batch_select_indices(goes_on)
                ids, mask, places, running = (each[goes_on] for each in (ids, mask, places, running))
            for row, token in zip(running.tolist(), ids[:, 0].tolist(), strict=True):
                made[row].append(token)
            mask, places = torch.cat([mask, torch.ones_like(ids)], 1), places[:, -1:] + 1
        return self.tokenizer.batch_decode(made, skip_special_tokens=True)

    def passed(self, items: list[dict[str, Any]]) -> list[bool]:
        """Return for each item whether the greedy answer satisfies all its constraints."""
        from gristmill.datagen.verify.constraints import verdicts_of

        async def judge(texts: list[str]) -> list[bool]:
            return [
                all((await verdicts_of({**item, "response": text})).strict)
                for item, text in zip(items, texts, strict=True)
            ]

        return asyncio.run(judge(self.answers(items)))


def _mean(parts: list[tuple[float, int]]) -> float:
    return sum(total for total, _ in parts) / sum(count for _, count in parts)


def measure(folder: Path, base: Path, weights: Change, beside: Path | None = None) -> dict[str, Any]:
    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]

    model = Measured(base, weights, beside, torch.float32)
    plan = json.loads((folder / "plan.json").read_text())
    losses = {
        "task_loss": model.task_loss(rows("held")),
        "prose_loss": model.prose_loss((folder / "prose.txt").read_text(), plan["windows"]),
    }
    served = Measured(base, weights, beside, torch.bfloat16)
    return {**losses, "passed": [int(each) for each in served.passed(rows("items"))]}


def main() -> None:
    from gristmill.contracts.unmerged import unmerged_settings
    from gristmill.pipelines.weights import fetch

    folder, base = Path(sys.argv[1]), fetch(MODEL)
    if len(sys.argv) == 2:
        print(json.dumps(measure(folder, base, {})))
        return
    with tempfile.TemporaryDirectory() as out:
        student, told = train(folder, json.loads(sys.argv[2]), Path(out))
        if unmerged_settings(student) is None:
            weights, told["changed"] = weights_of(student, base)
            measured = measure(folder, base, weights)
        else:
            told["changed"] = 0
            measured = measure(folder, base, {}, student)
    print(json.dumps(told | measured))


if __name__ == "__main__":
    main()
