"""The chat templates in a directory of a model or a student, in the layout of transformers.

``chat_template.jinja`` is the usual one. Others are in a folder next to it, each under its name:
``tool_use`` is for conversations with tools. Older directories have them in ``tokenizer_config.json``, which
counts only without files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeAlias

from .errors import ModelError

FILE, FOLDER, CONFIG = "chat_template.jinja", "additional_chat_templates", "tokenizer_config.json"
#: The name of the usual template.
DEFAULT = "default"

#: (name, text) of each template, in the order of their names.
ChatTemplates: TypeAlias = tuple[tuple[str, str], ...]


def read_chat_templates(directory: Path) -> ChatTemplates:
    """Return the chat templates in ``directory``. Raises ModelError if they cannot be read."""
    try:
        found = {file.stem: file.read_text("utf-8") for file in (directory / FOLDER).glob("*.jinja")}
        if (directory / FILE).is_file():
            found[DEFAULT] = (directory / FILE).read_text("utf-8")
        if not found and (directory / CONFIG).is_file():
            found = _of_config(json.loads((directory / CONFIG).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{directory}: its chat template cannot be read ({error!r})") from None
    return tuple(sorted(found.items()))


def write_chat_templates(directory: Path, templates: ChatTemplates) -> None:
    """Give ``directory`` these templates in place of its own. Raises ModelError for a name that is a path."""
    (directory / FILE).unlink(missing_ok=True)
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    for name, text in templates:
        if Path(name).name != name:
            raise ModelError(f"a chat template cannot have the name {name!r}")
        file = directory / FILE if name == DEFAULT else directory / FOLDER / f"{name}.jinja"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")


def _of_config(config: dict[str, Any]) -> dict[str, str]:
    given = config.get("chat_template") or {}
    if isinstance(given, str):
        return {DEFAULT: given}
    if isinstance(given, list):
        return {each["name"]: each["template"] for each in given}
    return dict(given)
