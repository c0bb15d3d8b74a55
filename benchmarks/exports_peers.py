"""The tools' side of ``exports.py``, in the peers' environment: FOLDER TEMPLATE...

Loads every file of the folder, makes one step of each trainer of TRL, and prints the lines of the table as
JSON. The model is a tiny random one with a tokenizer of bytes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)
from trl.experimental.kto import KTOConfig, KTOTrainer

SHAPE = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "eos_token_id": 1,
    "bos_token_id": None, "pad_token_id": 1,
}  # fmt: skip
KINDS = ("jsonl", "parquet", "arrow")
#: Trainer -> its configuration, the formats that it is meant for, and its own settings.
TRAINERS: dict[str, tuple[Any, Any, tuple[str, ...], dict[str, Any]]] = {
    "SFT": (SFTTrainer, SFTConfig, ("messages", "prompt_completion", "prompt_completion_turns"), {}),
    "DPO": (DPOTrainer, DPOConfig, ("prompt_chosen_rejected", "prompt_chosen_rejected_turns"), {}),
    "reward": (RewardTrainer, RewardConfig, ("prompt_chosen_rejected", "prompt_chosen_rejected_turns"), {}),
    "KTO": (KTOTrainer, KTOConfig, ("prompt_completion", "prompt_completion_turns"), {}),
    "GRPO": (GRPOTrainer, GRPOConfig, ("grpo",), {"num_generations": 2, "max_completion_length": 4}),
}
#: Formats whose turns may call tools.
CALLING = ("messages", "prompt_completion_turns")


def loaded(folder: Path, form: str, kind: str) -> datasets.Dataset:
    if kind == "arrow":
        return datasets.load_from_disk(str(folder / f"{form}_arrow"))
    reader = {"jsonl": "json"}.get(kind, kind)
    cache = str(folder / "cache")
    return datasets.load_dataset(
        reader, data_files=str(folder / f"{form}.{kind}"), split="train", cache_dir=cache
    )


def known(value: Any) -> Any:
    """The value without nulls, calls with their arguments as objects, tools as a list."""
    if isinstance(value, dict):
        made = {
            key: known(each)
            for key, each in value.items()
            if each is not None and not (isinstance(each, float) and each != each)
        }
        for name in {"arguments", "tools"} & made.keys():
            made[name] = json.loads(made[name]) if isinstance(made[name], str) else made[name]
        return made
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        return [known(each) for each in value]
    return value


def readers(folder: Path, form: str) -> dict[tuple[str, str], Callable[[], list[dict[str, Any]]]]:
    """(Tool, kind of file) -> function that reads all rows."""
    made: dict[tuple[str, str], Callable[[], list[dict[str, Any]]]] = {
        ("datasets", kind): (lambda kind=kind: loaded(folder, form, kind).to_list()) for kind in KINDS
    }
    jsonl, parquet = str(folder / f"{form}.jsonl"), str(folder / f"{form}.parquet")
    made["pandas", "jsonl"] = lambda: [
        {key: None if isinstance(value, float) else value for key, value in row.items()}
        for row in pd.read_json(jsonl, lines=True, dtype=False, convert_dates=False).to_dict("records")
    ]
    made["pandas", "parquet"] = lambda: pd.read_parquet(parquet).to_dict("records")
    made["polars", "jsonl"] = lambda: pl.read_ndjson(jsonl, infer_schema_length=None).to_dicts()
    made["polars", "parquet"] = lambda: pl.read_parquet(parquet).to_dicts()
    return made


def make_model(folder: Path, template: str) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE)).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {"<|start|>": 0, "<|end|>": 1, **{letter: place + 2 for place, letter in enumerate(letters)}}
    tokenizer = Tokenizer(models.BPE(words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = files("trl").joinpath("chat_templates", f"{template}.jinja").read_text()
    fast.save_pretrained(folder)
    return folder


def agrees(completions: list[Any], solution: list[str], verifier: list[str], **_: Any) -> list[float]:
    """A reward that needs what an export of tasks holds."""
    assert all(isinstance(each, str) for each in (*solution, *verifier)), (solution, verifier)
    return [float(truth in str(said)) for said, truth in zip(completions, solution, strict=True)]


def step(name: str, model: Path, data: datasets.Dataset, out: str) -> str:
    """Make one step. Returns what the first row with calls of tools, or else the first, became as text."""
    trainer_class, config_class, _, more = TRAINERS[name]
    args = config_class(
        output_dir=out, max_steps=1, per_device_train_batch_size=2, use_cpu=True, bf16=False,
        report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False, **more,
    )  # fmt: skip
    given = {"reward_funcs": agrees} if name == "GRPO" else {}
    trainer = trainer_class(model=str(model), args=args, train_dataset=data, **given)
    trainer.train()
    rows = trainer.train_dataset
    ids = next((key for key in ("input_ids", "chosen_ids", "prompt_ids") if key in rows.column_names), None)
    texts = [trainer.processing_class.decode(row[ids]) for row in rows] if ids else []
    return "\n".join(texts)


def main(place: str, *templates: str) -> None:
    datasets.disable_progress_bars()
    folder = Path(place)
    lines: list[list[Any]] = []
    failed: list[str] = []
    forms = sorted(path.stem for path in folder.glob("*.jsonl"))
    for form in forms:
        wanted = [
            known(json.loads(line)) for line in (folder / f"{form}.jsonl").read_text().split("\n") if line
        ]
        for (tool, kind), read in readers(folder, form).items():
            try:
                rows = read()
                same = [known(row) for row in rows] == wanted
                said = "same values" if same else "OTHER VALUES"
            except Exception as error:
                rows, said = [], f"FAILED: {error!s:.80}"
            lines.append([f"{tool} {version(tool)}", f"`{form}`", kind, len(rows), said])
            if not said.startswith("same"):
                failed.append(f"{lines[-1]}")
    for template in templates:
        with tempfile.TemporaryDirectory() as made:
            model = make_model(Path(made), template)
            for name, (_, _, forms_of, _) in TRAINERS.items():
                for form in forms_of:
                    for kind in KINDS:
                        rows = loaded(folder, form, kind)
                        try:
                            text = step(name, model, rows, made)
                            said = f"one step, template {template}"
                            if form in CALLING and text and '{"city": "Ulm"}' not in text:
                                said = f"CALLS READ WRONGLY, template {template}"
                        except Exception as error:
                            said = f"FAILED, template {template}: {type(error).__name__} {error!s:.80}"
                        lines.append([f"TRL {version('trl')} {name}", f"`{form}`", kind, len(rows), said])
                        if not said.startswith("one"):
                            failed.append(f"{lines[-1]}")
    print(json.dumps({"lines": lines, "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1], *sys.argv[2:])
