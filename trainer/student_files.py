"""What a student is saved with besides its weights: tokenizer, chat template and model card.

Whoever loads the directory, from a hub or a disk, then renders conversations as the training did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.chat_templates import read_chat_templates, write_chat_templates
from ..contracts.counting import counted
from ..contracts.inference import ModelWeights
from ..contracts.printable import shown
from .settings import TrainSettings

if TYPE_CHECKING:
    from .data.encoder import Encoder

#: Parameters of a step that say how it runs, not what comes out.
_HOW = {"model", "device", "checkpoint_every", "cache_dequantized", "evaluate_on", "evaluate_every"}


def base_reference(weights: ModelWeights) -> dict[str, str]:
    """Return PEFT's settings that name the base: its id on the Hub and the commit, or else its path."""
    repository, folder, revision = ("", "", "", *weights.path.parts)[-3:]
    if not repository.startswith("models--") or folder != "snapshots":  # the layout of the hub's cache
        return {"base_model_name_or_path": str(weights.path)}
    name = repository.removeprefix("models--").replace("--", "/", 1)
    return {"base_model_name_or_path": name, "revision": revision}


def write_student_files(
    directory: Path, encoder: Encoder, weights: ModelWeights, step: TrainSettings, *, name: str, rows: int
) -> None:
    """Write the tokenizer with the chat template, if any, and a model card into ``directory``.

    ``name``: the student's. ``rows``: the number of rows that it was trained on.
    """
    encoder.tokenizer.chat_template = encoder.template_text
    encoder.tokenizer.save_pretrained(directory)
    (directory / "README.md").write_text(_card(weights, step, name, rows), encoding="utf-8")


def copy_chat_template(sources: Sequence[Path], directory: Path) -> None:
    """Give a merged model the chat template of its sources, if all that have one have the same."""
    found = {templates for source in sources if (templates := read_chat_templates(source))}
    if len(found) == 1:
        write_chat_templates(directory, *found)


def _card(weights: ModelWeights, step: TrainSettings, name: str, rows: int) -> str:
    from .. import __version__

    base = base_reference(weights)["base_model_name_or_path"]
    what = (type(step).__doc__ or "").partition("\n")[0]
    settings: dict[str, Any] = step.model_dump(mode="json", exclude=_HOW | step.pace, exclude_defaults=True)
    peft = not step.adapter.own_layout
    use = (
        "```python\nfrom peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n"
        "model = AutoPeftModelForCausalLM.from_pretrained(DIRECTORY)\n"
        "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n```"
        if peft
        else "`gristmill chat DIRECTORY` talks to it, and `engine: transformers` serves it over its base. It "
        "cannot be merged into a whole model."
        if step.adapter.unmerged
        else "`gristmill merge BASE DIRECTORY --out MODEL` makes a whole model of it."
    )
    what_it_is = "An adapter" if peft or step.adapter.unmerged else "A change of the weights"
    lines = [
        "---",
        f"base_model: {json.dumps(base)}",
        *(["library_name: peft"] if peft else []),
        "pipeline_tag: text-generation",
        f"tags:\n- gristmill\n- {step.adapter.kind}",
        "---\n",
        f"# {name}\n",
        f"{what_it_is} over `{base}`, trained by Gristmill {__version__} on {counted(rows, 'row')}. {what}\n",
        *(["The chat template in this directory is that of the training.\n"] if step.conversational else []),
        "## Use\n",
        f"{use}\n",
        "## Parameters that are not the defaults\n",
        f"```json\n{json.dumps(settings, indent=2, ensure_ascii=False)}\n```",
    ]
    return shown("\n".join(lines) + "\n")
