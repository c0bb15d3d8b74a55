"""A student carries the tokenizer and chat template of its training, a card, and its base's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import AutoTokenizer

from gristmill.contracts.inference import ModelWeights, Request, Sampling
from gristmill.pipelines.engines.prompts import Prompts
from gristmill.pipelines.weights.store import _base_of
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.fit import fit
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.tensor_files import copy_rest
from gristmill.trainer.student_files import base_reference, copy_chat_template

CHAT_TEMPLATE = "chat_template.jinja"


def test_a_student_is_served_and_merged_with_the_template_of_its_training(
    tmp_path: Path, make_model: Callable[..., Path], stopping: Any, rows: list[dict[str, Any]]
) -> None:
    cache = tmp_path / "models--org--name" / "snapshots"
    cache.mkdir(parents=True)
    base = Path(shutil.move(make_model(), cache / "abc123"))
    step = SupervisedFineTuning(
        model="base",
        quantize="none",
        dtype="fp32",
        adapter=AdapterSettings(rank=2),
        max_length=128,
        chat_template="plain",
        chat_template_kwargs={"enable_thinking": False},
    )
    bad = [
        {"_id": "empty", "prompt": "q", "response": "", "finish": "stop"},
        {"_id": "cut", "prompt": "q", "response": "r", "finish": "length"},
    ]
    table = pa.Table.from_pylist([*({**row, "finish": "stop"} for row in rows), *bad])
    trained = fit(step, table, stopping(tmp_path / "work", base))

    assert trained.metrics["rows"] == len(rows)
    assert trained.metrics["left_out"] == {"empty response": 1, "cut off": 1}
    assert trained.left_out is not None
    assert trained.left_out["row"].to_pylist() == ["empty", "cut"]

    settings = json.loads((trained.adapter / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("org/name", "abc123")
    assert _base_of(trained.adapter) == "org/name@abc123"
    card = (trained.adapter / "README.md").read_text()
    assert 'base_model: "org/name"' in card
    assert '"chat_template": "plain"' in card
    assert "on 17 rows" in card

    turns = [{"role": "user", "content": "q"}]
    saved = AutoTokenizer.from_pretrained(trained.adapter)
    assert (
        saved.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        == "user:\nq\n\nassistant:\n"
    )
    request = Request("r", 0, Sampling(max_tokens=1), messages=({"role": "user", "content": "q"},))
    (served,) = Prompts(base, 512, trained.adapter).tokens([request])
    assert saved.decode(served.prompt) == "user:\nq\n\nassistant:\n"

    merge(base, [trained.adapter], tmp_path / "merged")
    merged = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert merged.chat_template == saved.chat_template


def test_sources_of_different_templates_leave_the_bases(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other", "out")]
    for folder in folders:
        folder.mkdir()
        (folder / CHAT_TEMPLATE).write_text(folder.name)
    copy_chat_template(folders[:2], folders[2])
    assert (folders[2] / CHAT_TEMPLATE).read_text() == "out"
    copy_chat_template(folders[:1], folders[2])
    assert (folders[2] / CHAT_TEMPLATE).read_text() == "one"


def test_a_source_without_a_template_leaves_the_choice_to_the_others(tmp_path: Path) -> None:
    """As a model of a domain, which is merged with an instruct model."""
    folders = [tmp_path / name for name in ("domain", "instruct", "out")]
    for folder in folders:
        folder.mkdir()
    copy_chat_template(folders[:1], folders[2])
    assert not any(folders[2].iterdir())
    (folders[1] / "tokenizer_config.json").write_text(json.dumps({"chat_template": "told"}))
    copy_chat_template(folders[:2], folders[2])
    assert (folders[2] / CHAT_TEMPLATE).read_text() == "told"


def test_all_templates_of_a_base_and_of_its_students_are_copied(
    tmp_path: Path, make_model: Callable[..., Path], save_tokenizer: Callable[..., None]
) -> None:
    base, student, out = make_model(), tmp_path / "student", tmp_path / "out"
    of_base = {"default": "base", "tool_use": "tools of base", "rag": "texts of base"}
    of_student = {"default": "own", "tool_use": "own tools"}
    save_tokenizer(base, template=of_base)
    save_tokenizer(student, template=of_student)
    out.mkdir()
    copy_rest(base, out)
    assert AutoTokenizer.from_pretrained(out).chat_template == of_base
    copy_chat_template([student], out)
    assert AutoTokenizer.from_pretrained(out).chat_template == of_student


def test_a_base_that_is_not_on_the_hub_is_named_by_its_path() -> None:
    found = base_reference(ModelWeights("base", Path("/models/tiny"), "digest"))
    assert found == {"base_model_name_or_path": "/models/tiny"}
