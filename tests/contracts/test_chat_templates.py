"""Chat templates are read and written in every layout of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.chat_templates import read_chat_templates, write_chat_templates
from gristmill.contracts.errors import ModelError

BOTH = (("default", "D"), ("tool_use", "T"))


def _config(folder: Path, template: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("D", (("default", "D"),)),
        ([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}], BOTH),
        ({"default": "D"}, (("default", "D"),)),
        (None, ()),
    ],
)
def test_a_config_counts_only_without_files(template: Any, found: Any, tmp_path: Path) -> None:
    assert read_chat_templates(tmp_path) == ()
    _config(tmp_path, template)
    assert read_chat_templates(tmp_path) == found
    (tmp_path / "chat_template.jinja").write_text("file")
    assert read_chat_templates(tmp_path) == (("default", "file"),)


def test_what_is_written_is_read_and_replaces_all(tmp_path: Path) -> None:
    _config(tmp_path, "old")
    write_chat_templates(tmp_path, BOTH)
    assert read_chat_templates(tmp_path) == BOTH
    write_chat_templates(tmp_path, BOTH[1:])
    assert read_chat_templates(tmp_path) == BOTH[1:]


def test_what_cannot_be_read_and_names_that_are_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot have the name '\.\./x'"):
        write_chat_templates(tmp_path, (("../x", "T"),))
    for text in ("{", "[]", '{"chat_template": 1}', '{"chat_template": [{"name": "x"}]}'):
        (tmp_path / "tokenizer_config.json").write_text(text)
        with pytest.raises(ModelError, match="its chat template cannot be read"):
            read_chat_templates(tmp_path)
