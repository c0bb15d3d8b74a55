"""TRL's side of ``parity.py``, in the peers' environment: MODEL ADAPTER ROWS STEPS RATE.

Trains an adapter with each method on the rows, all of them in every step, and prints the losses as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer


def words(ids: list[int]) -> str:
    return "".join(f" w{number}" for number in ids)


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def main(model: str, adapter: str, rows: str, steps: int, rate: float) -> None:
    data = json.loads(Path(rows).read_text())
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = Dataset.from_list([{name: words(row[name]) for name in row} for row in data])
    tokens = Dataset.from_list(
        [
            {
                "input_ids": row["prompt"] + row["chosen"] + [tokenizer.eos_token_id],
                "completion_mask": [0] * len(row["prompt"]) + [1] * (len(row["chosen"]) + 1),
            }
            for row in data
        ]
    )
    found = {}
    with tempfile.TemporaryDirectory() as out:
        common: dict[str, Any] = {
            "output_dir": out,
            "per_device_train_batch_size": len(data),
            "max_steps": steps,
            "learning_rate": rate,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "logging_steps": 1,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "remove_unused_columns": False,
        }

        def start() -> Any:
            base = AutoModelForCausalLM.from_pretrained(
                model, dtype=torch.float32, attn_implementation="eager"
            )
            return PeftModel.from_pretrained(base, adapter, is_trainable=True)

        sft = SFTConfig(**common, completion_only_loss=True)
        found["sft"] = losses(
            SFTTrainer(model=start(), args=sft, train_dataset=tokens, processing_class=tokenizer)
        )
        dpo = DPOConfig(**common, beta=0.1)
        found["dpo"] = losses(
            DPOTrainer(model=start(), args=dpo, train_dataset=texts, processing_class=tokenizer)
        )
        simpo = CPOConfig(**common, loss_type="simpo", cpo_alpha=0.0, beta=2.0, simpo_gamma=1.0)
        found["simpo"] = losses(
            CPOTrainer(model=start(), args=simpo, train_dataset=texts, processing_class=tokenizer)
        )
    print(json.dumps({**found, "trl": version("trl")}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5]))
