"""One run of TRL + PEFT for ``train_cpu.py``, in the peers' environment: BASE MODEL ROWS WARM_UP [--packed].

``--packed``: rows are packed (``packing: true``) into sequences of 1,024 tokens, one per step.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):
    """Records when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


class Counting:
    """A collator that counts the tokens of each batch: those without padding, and those with a label."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.tokens: list[int] = []
        self.trained: list[int] = []

    def __call__(self, rows: list[Any]) -> Any:
        batch = self.collate(rows)
        whole = "attention_mask" not in batch  # packed rows have no padding
        self.tokens.append(batch["input_ids"].numel() if whole else int(batch["attention_mask"].sum()))
        self.trained.append(int((batch["labels"][:, 1:] != -100).sum()))
        return batch


def main(base: str, model: str, rows: str, warm_up: int, *, packed: bool) -> None:
    loading: dict[str, Any] = {"dtype": torch.bfloat16}
    if base == "nf4":
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=out,
                per_device_train_batch_size=1 if packed else 4,
                packing=packed,
                num_train_epochs=1,
                learning_rate=2e-4,
                lr_scheduler_type="constant",
                max_length=1024 if packed else 512,
                completion_only_loss=True,
                gradient_checkpointing=False,
                bf16=True,
                use_cpu=True,
                logging_steps=1,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                model_init_kwargs=loading,
            ),
            train_dataset=Dataset.from_list(
                [
                    {
                        "prompt": [{"role": "user", "content": row["prompt"]}],
                        "completion": [{"role": "assistant", "content": row["completion"]}],
                    }
                    for row in map(json.loads, Path(rows).read_text().splitlines())
                ]
            ),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock],
        )
        counting = trainer.data_collator = Counting(trainer.data_collator)
        trainer.train()
    seconds = clock.ends[-1] - clock.ends[warm_up - 1]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    answer = {
        "tokens_per_s": sum(counting.tokens[warm_up:]) / seconds,
        "trained_tokens_per_s": sum(counting.trained[warm_up:]) / seconds,
        "step_s": seconds / (len(clock.ends) - warm_up),
        "tokens": sum(counting.tokens),
        "trained_tokens": sum(counting.trained),
        "mean_loss": sum(losses) / len(losses),
        "versions": {
            name: version(name) for name in ("trl", "peft", "transformers", "bitsandbytes", "torch")
        },
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), packed="--packed" in sys.argv)
